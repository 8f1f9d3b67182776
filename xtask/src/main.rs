//! Development tasks of Berth.

fn main() {}
