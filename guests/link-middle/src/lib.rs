//! A component between two others: what it exports, it passes on to a probe.

wit_bindgen::generate!({ path: "../link-wit", world: "middle" });
export!(Middle);

use test::link::probe;

struct Middle;

impl exports::test::link::relay::Guest for Middle {
    fn increment(by: u32) -> u32 {
        probe::increment(by)
    }

    /// Its own, not the probe's.
    fn environment() -> Vec<(String, String)> {
        std::env::vars().collect()
    }

    fn fail() {
        probe::fail();
    }
}
