//! The library: amounts of money. A component like any other; what makes it a library is that others import what it exports.

wit_bindgen::generate!({ path: "../wit", world: "money-library" });
export!(Money);

use exports::example::shop::money::{Amount, Currency, Guest};

struct Money;

impl Guest for Money {
    fn total(amounts: Vec<Amount>) -> Result<Amount, String> {
        let Some(currency) = amounts.first().map(|first| first.currency) else {
            return Err("there is nothing to add".to_owned());
        };
        let mut cents: u32 = 0;
        for amount in amounts {
            if amount.currency != currency {
                return Err(format!("{} and {} can't be added", code(currency), code(amount.currency)));
            }
            cents = cents.checked_add(amount.cents).ok_or("that is too much")?;
        }
        Ok(Amount { cents, currency })
    }

    fn format(amount: Amount) -> String {
        format!("{} {}.{:02}", code(amount.currency), amount.cents / 100, amount.cents % 100)
    }
}

fn code(currency: Currency) -> &'static str {
    match currency {
        Currency::Eur => "EUR",
        Currency::Usd => "USD",
    }
}
