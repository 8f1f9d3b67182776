//! Control protocol of Berth: messages, subjects, a typed client and server over a small bus.
