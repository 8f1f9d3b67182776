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

            // Their values may come from Secrets.
            impl std::fmt::Debug for LocalResources {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    let (environment, config) = (self.environment.keys(), self.config.keys());
                    f.debug_struct("LocalResources").field("environment", &environment).field("config", &config).finish_non_exhaustive()
                }
            }

            impl std::fmt::Debug for WitInterface {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    let name = format!("{}:{}/{}", self.namespace, self.package, self.interfaces.join(","));
                    f.debug_struct("WitInterface").field("name", &name).field("config", &self.config.keys()).finish_non_exhaustive()
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::wasmcloud::runtime::v2::{Component, ImagePullSecret, LocalResources, WitInterface};

    #[test]
    fn debug_output_of_a_message_shows_no_credentials_and_no_values() {
        let secret = ImagePullSecret { username: "hunter".into(), password: "hunter2".into() };
        let values = || [("PASSWORD".to_owned(), "hunter2".to_owned())].into();
        let resources = LocalResources { environment: values(), config: values(), ..LocalResources::default() };
        let component = Component { image_pull_secret: Some(secret), local_resources: Some(resources), ..Component::default() };
        let interface = WitInterface { config: values(), ..WitInterface::default() };
        let text = format!("{component:?} {interface:?}");
        assert!(text.contains("ImagePullSecret(..)") && !text.contains("hunter"), "{text}");
        assert_eq!(text.matches("PASSWORD").count(), 3, "{text}");
    }
}
