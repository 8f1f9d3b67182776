//! Rust source as a flat list of tokens, by Rust's own lexer: comments and strings can't be mistaken for code.

use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::Finding;
use super::tree::{self, File};

/// One token; each delimiter and each character of punctuation is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its text.
    pub text: String,
    /// Its line, from 1.
    pub line: usize,
    /// Whether it is part of a test: in a test file, or in an item under `#[cfg(test)]` or a test attribute.
    pub test: bool,
}

/// The tokens of a file of ours; none for other files.
pub fn lex(file: &File) -> Result<Vec<Token>, Finding> {
    if !file.is_ours() {
        return Ok(Vec::new());
    }
    let stream = TokenStream::from_str(&file.text)
        .map_err(|error| Finding::new("syntax", &file.path, error.span().start().line, "this isn't Rust: rustc says more"))?;
    let mut tokens = Vec::new();
    flatten(stream, tree::is_test(&file.path), &mut tokens);
    Ok(tokens)
}

/// Indices at which the tokens of `pattern`, separated by spaces, start.
pub fn occurrences<'a>(tokens: &'a [Token], pattern: &'a str) -> impl Iterator<Item = usize> + 'a {
    let words: Vec<&str> = pattern.split(' ').collect();
    (0..tokens.len().saturating_sub(words.len() - 1))
        .filter(move |start| words.iter().zip(&tokens[*start..]).all(|(word, token)| token.text == *word))
}

/// Index of the delimiter that closes the one at `open`.
pub fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len() - 1
}

fn flatten(stream: TokenStream, test: bool, tokens: &mut Vec<Token>) {
    // An attribute makes the item after it a test, up to the end of its braces or its semicolon.
    let mut item_is_test = false;
    let mut after_hash = false;
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let attribute = after_hash && group.delimiter() == Delimiter::Bracket;
                item_is_test |= attribute && marks_test(group.stream());
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                let inside = test || item_is_test;
                tokens.push(Token { text: open.into(), line, test: inside });
                let end = group.span_close().end().line;
                let brace = group.delimiter() == Delimiter::Brace;
                flatten(group.stream(), inside, tokens);
                tokens.push(Token { text: close.into(), line: end, test: inside });
                item_is_test &= !brace;
                after_hash = false;
            }
            other => {
                let text = other.to_string();
                item_is_test &= text != ";";
                after_hash = text == "#";
                tokens.push(Token { text, line, test: test || item_is_test });
            }
        }
    }
}

/// Whether an attribute makes its item a test: `test` is in it (`cfg(test)`, `test`, `tokio::test`), and not under `not`.
fn marks_test(attribute: TokenStream) -> bool {
    let mut tokens = Vec::new();
    flatten(attribute, false, &mut tokens);
    let has = |word: &str| tokens.iter().any(|token| token.text == word);
    has("test") && !has("not")
}

#[cfg(test)]
pub fn of(path: &str, text: &str) -> Vec<Token> {
    lex(&File { path: path.to_owned(), text: text.to_owned() }).expect("the test's source is Rust")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "crates/model/src/lib.rs";

    #[test]
    fn comments_and_strings_hold_no_code() {
        let tokens = of(PATH, "// dbg!(1)\nfn f() { let _a = \"dbg!(2)\"; /* dbg!(3) */ }");
        assert_eq!(occurrences(&tokens, "dbg !").count(), 0);
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let tokens = of(PATH, "fn f() {\n\n    dbg!(1);\n}\n");
        let at = occurrences(&tokens, "dbg !").next().expect("it is there");
        assert_eq!(tokens[at].line, 3);
        let open = occurrences(&tokens, "{").next().expect("it is there");
        assert_eq!(tokens[closing(&tokens, open)].line, 4);
    }

    #[test]
    fn items_under_a_test_attribute_are_tests() {
        let tokens = of(
            PATH,
            "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}\n#[tokio::test(start_paused = true)]\nasync fn d() { e }\n",
        );
        let test = |name: &str| tokens[occurrences(&tokens, name).next().expect("it is there")].test;
        assert!(!test("a") && test("b") && !test("c") && test("e"));
    }

    #[test]
    fn what_is_left_out_of_tests_is_no_test() {
        let tokens = of(PATH, "#[cfg(not(test))]\nfn a() { b }\n#[cfg(test)]\nuse x;\nfn c() {}");
        let test = |name: &str| tokens[occurrences(&tokens, name).next().expect("it is there")].test;
        assert!(!test("b") && test("x") && !test("c"));
    }

    #[test]
    fn a_test_file_is_all_test() {
        assert!(of("crates/http/tests/it/main.rs", "fn a() {}").iter().all(|token| token.test));
    }

    #[test]
    fn what_is_no_rust_is_a_finding() {
        let file = File { path: PATH.into(), text: "fn a( {}".into() };
        assert_eq!(lex(&file).expect_err("unbalanced").rule, "syntax");
    }
}
