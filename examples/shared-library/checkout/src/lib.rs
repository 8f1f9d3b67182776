//! Says what a cart costs. It adds by the library `money`, whose types it hands on to those that call it.

wit_bindgen::generate!({ path: "../wit", world: "checkout-component" });
export!(Checkout);

use example::shop::money::{self, Amount, Currency};
use exports::example::shop::checkout::Guest;

struct Checkout;

impl Guest for Checkout {
    fn price(item: String) -> Result<Amount, String> {
        let (cents, currency) = match item.as_str() {
            "bread" => (430, Currency::Eur),
            "cheese" => (300, Currency::Eur),
            "bagel" => (275, Currency::Usd),
            _ => return Err(format!("there is no {item}")),
        };
        Ok(Amount { cents, currency })
    }

    fn bill(cart: Vec<String>) -> Result<Amount, String> {
        let prices = cart.into_iter().map(Self::price).collect::<Result<Vec<_>, _>>()?;
        money::total(&prices)
    }
}
