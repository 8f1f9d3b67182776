//! Wire types, made from `proto/` by `cargo xtask generate`. The nesting is that of the proto packages, as the generated
//! code refers across them.
#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]

pub(crate) mod berth {
    pub(crate) mod control {
        pub(crate) mod v1 {
            include!("generated/berth.control.v1.rs");
            include!("generated/berth.control.v1.serde.rs");
        }
    }
}

pub(crate) mod wasmcloud {
    pub(crate) mod runtime {
        pub(crate) mod v2 {
            include!("generated/wasmcloud.runtime.v2.rs");
            include!("generated/wasmcloud.runtime.v2.serde.rs");

            impl std::fmt::Debug for ImagePullSecret {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("ImagePullSecret(..)")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::wasmcloud::runtime::v2::{Component, ImagePullSecret};

    #[test]
    fn debug_output_of_a_message_shows_no_credentials() {
        let secret = ImagePullSecret { username: "hunter".into(), password: "hunter2".into() };
        let component = Component { image_pull_secret: Some(secret), ..Component::default() };
        let text = format!("{component:?}");
        assert!(text.contains("ImagePullSecret(..)") && !text.contains("hunter"), "{text}");
    }
}
