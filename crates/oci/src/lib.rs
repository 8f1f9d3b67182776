//! Where component images come from.
