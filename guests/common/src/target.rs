//! A request's path and query, with defaults for what isn't given.

/// Path and decoded query parameters of one request.
#[derive(Debug)]
pub struct Target {
    path: String,
    parameters: Vec<(String, String)>,
}

impl Target {
    /// Splits `/path?a=1&b=2`; nothing is refused, undecodable escapes stay as they are.
    #[must_use]
    pub fn parse(path_with_query: &str) -> Self {
        let (path, query) = path_with_query.split_once('?').unwrap_or((path_with_query, ""));
        let parameters = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name), decode(value))
            })
            .collect();
        Self { path: if path.is_empty() { "/".to_owned() } else { path.to_owned() }, parameters }
    }

    /// The path as it came, `/` at least.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The first value of a parameter, decoded.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter as a number, or `default` if it is absent or no number.
    #[must_use]
    pub fn number(&self, name: &str, default: u64) -> u64 {
        self.text(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    /// Whether a parameter is given as anything but `0` or `false`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value != "0" && value != "false")
    }
}

/// Percent-decodes; `+` stays `+`, since URLs are passed as parameters.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The parts of an absolute `http` or `https` URL that an outgoing request needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Url<'a> {
    /// Whether the scheme is `https`.
    pub secure: bool,
    /// Host and, if given, port.
    pub authority: &'a str,
    /// From the first `/` on, or `/`.
    pub path_with_query: &'a str,
}

impl<'a> Url<'a> {
    /// `None` if the scheme isn't `http` or `https`, or there is no host.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        let path_with_query = if path.is_empty() { "/" } else { path };
        (!authority.is_empty()).then_some(Self { secure, authority, path_with_query })
    }
}
