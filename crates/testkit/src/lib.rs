//! What Berth's tests share: guests built from source, and a world of every role in one process.
