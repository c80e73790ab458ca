//! The shapes of well-known tokens and keys. Every shape is a regular expression of an engine that never goes back, with
//! bounded context around what it takes; a prefilter says which of them are worth a try. Must never show a part of what
//! it finds: a preview is a constant.

use std::ops::Range;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::likely::Likely;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal,)*) => {
        /// What a token is for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum TokenKind {
            $($(#[$doc])* $kind,)*
        }

        impl TokenKind {
            /// As people call it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// What stands in its place.
            pub fn preview(self) -> &'static str {
                match self { $(Self::$kind => concat!("«redacted: ", $name, "»"),)* }
            }
        }
    };
}

kinds! {
    /// Of GitHub.
    Github "github token",
    /// Of Forgejo or Gitea.
    Forgejo "forgejo token",
    /// Of GitLab.
    Gitlab "gitlab token",
    /// The name of a key of AWS. Not secret by itself, but never alone for long.
    AwsKeyId "aws key id",
    /// A key of AWS.
    AwsSecret "aws secret key",
    /// Of Slack.
    Slack "slack token",
    /// Of Anthropic.
    Anthropic "anthropic key",
    /// Of OpenAI, or of one of those who took over its form.
    Openai "openai key",
    /// Of Google.
    Google "google key",
    /// Of npm.
    Npm "npm token",
    /// Of PyPI.
    Pypi "pypi token",
    /// Of crates.io.
    CratesIo "crates.io token",
    /// Of Hugging Face.
    HuggingFace "hugging face token",
    /// Of Docker Hub.
    Docker "docker token",
    /// Of Stripe.
    Stripe "stripe key",
    /// Of SendGrid.
    SendGrid "sendgrid key",
    /// Of Groq.
    Groq "groq key",
    /// Of a bot of Telegram.
    Telegram "telegram token",
    /// An identity of age.
    Age "age key",
    /// A signed token.
    Jwt "signed token",
    /// A private key of any make.
    PrivateKey "private key",
    /// What a request proves itself with.
    Authorization "authorization",
    /// The password in an address.
    Password "password",
}

/// A shape. What it takes is its group `s`, or all of it.
struct Shape {
    kind: TokenKind,
    /// One of these, in small letters, stands in every text that has the shape.
    words: &'static [&'static str],
    pattern: &'static str,
}

const fn shape(kind: TokenKind, words: &'static [&'static str], pattern: &'static str) -> Shape {
    Shape { kind, words, pattern }
}

/// Between a name and its value: `=`, `: `, `": "`, `" => '`.
macro_rules! given {
    ($name:literal, $value:literal) => {
        concat!(
            "(?i:(?:",
            $name,
            r#"))["'`\]]{0,2}[ \t]{0,8}(?:=>|:=|[:=]|[ \t])[ \t]{0,8}["'`]{0,2}"#,
            "(?<s>",
            $value,
            ")"
        )
    };
}

const SHAPES: &[Shape] = &[
    shape(TokenKind::Github, &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], r"gh[pousr]_[A-Za-z0-9]{36,}"),
    shape(TokenKind::Github, &["github_pat_"], r"github_pat_[A-Za-z0-9_]{22,}"),
    shape(
        TokenKind::Forgejo,
        &["token"],
        given!("authorization[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?token", "[0-9a-fA-F]{40}\\b"),
    ),
    shape(
        TokenKind::Forgejo,
        &["forgejo", "gitea", "codeberg", "token"],
        given!(r"(?:forgejo|gitea|codeberg|token)[\w.-]{0,32}", r"[0-9a-f]{40}\b"),
    ),
    shape(
        TokenKind::Gitlab,
        &["gl"],
        r"\bgl(?:pat|ptt|dt|rt|cbt|ft|soat|agent|imt|oas|ffct)-[A-Za-z0-9_=.-]{20,}",
    ),
    shape(TokenKind::AwsKeyId, &["akia", "asia"], r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    shape(
        TokenKind::AwsSecret,
        &["secret", "aws"],
        given!(r"(?:aws[\w.-]{0,20})?secret[\w.-]{0,20}|aws[\w.-]{0,20}key", r"[A-Za-z0-9/+=]{40,}"),
    ),
    shape(TokenKind::Slack, &["xox"], r"\bxox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}"),
    shape(TokenKind::Slack, &["xapp-"], r"\bxapp-[0-9]-[A-Za-z0-9-]{10,}"),
    shape(
        TokenKind::Slack,
        &["hooks.slack.com"],
        r"hooks\.slack\.com/(?:services|workflows|triggers)/(?<s>[A-Za-z0-9/_-]{20,})",
    ),
    // Before the family of `sk-`, which would give it its own name.
    shape(TokenKind::Anthropic, &["sk-ant-"], r"\bsk-ant-[A-Za-z0-9_-]{16,}"),
    shape(TokenKind::Openai, &["sk-"], r"\bsk-(?:proj-|svcacct-|admin-|or-v1-|live-)?[A-Za-z0-9_-]{20,}"),
    shape(TokenKind::Google, &["aiza"], r"\bAIza[A-Za-z0-9_-]{35,}"),
    shape(TokenKind::Google, &["ya29."], r"\bya29\.[A-Za-z0-9_-]{20,}"),
    shape(TokenKind::Google, &["gocspx-"], r"\bGOCSPX-[A-Za-z0-9_-]{28,}"),
    shape(TokenKind::Npm, &["npm_"], r"\bnpm_[A-Za-z0-9]{36,}"),
    shape(TokenKind::Npm, &["_authtoken"], given!("_authToken", r"[A-Za-z0-9_./+=-]{16,}")),
    shape(TokenKind::Pypi, &["pypi-"], r"\bpypi-[A-Za-z0-9_-]{50,}"),
    shape(TokenKind::CratesIo, &["cio"], r"\bcio[A-Za-z0-9]{32}\b"),
    shape(TokenKind::HuggingFace, &["hf_"], r"\bhf_[A-Za-z0-9]{30,}"),
    shape(TokenKind::Docker, &["dckr_"], r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}"),
    shape(
        TokenKind::Stripe,
        &["k_live_", "k_test_", "whsec_"],
        r"\b(?:[sr]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}",
    ),
    shape(TokenKind::SendGrid, &["sg."], r"\bSG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,}"),
    shape(TokenKind::Groq, &["gsk_"], r"\bgsk_[A-Za-z0-9]{40,}"),
    shape(TokenKind::Telegram, &[":aa"], r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b"),
    shape(TokenKind::Age, &["age-secret-key-1"], r"(?i)AGE-SECRET-KEY-1[0-9A-Z]{58,}"),
    shape(TokenKind::Jwt, &["eyj"], r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"),
    shape(
        TokenKind::PrivateKey,
        &["private key"],
        concat!(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
            // Its lines, with what tools put before them, as long as they look like a key.
            r#"(?:(?:\\[rn]|[\s|>"'+,]|[0-9]{1,5}[:|]){0,24}"#,
            r"(?:(?:Proc-Type|DEK-Info|Version|Comment|Hash)[:][^\r\n\\]{0,200}|[A-Za-z0-9+/=]{16,}))*",
            r#"(?:(?:\\[rn]|[\s|>"'+,]|[0-9]{1,5}[:|]){0,24}[A-Za-z0-9+/=]{0,64}(?:\\[rn]|[\s|>"'+,]|[0-9]{1,5}[:|]){0,24}"#,
            r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
        ),
    ),
    shape(
        TokenKind::Authorization,
        &["authorization"],
        given!(
            r"authorization",
            r"(?:(?i:bearer|basic|token|negotiate|apikey)[ \t]{1,4})[A-Za-z0-9._~+/=:-]{8,}"
        ),
    ),
    shape(TokenKind::Authorization, &["bearer"], r"(?i:\bbearer)[ \t]{1,4}(?<s>[A-Za-z0-9._~+/=-]{20,})"),
    shape(
        TokenKind::Password,
        &["://"],
        r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[A-Za-z0-9._~%!*+=-]{0,100}:(?<s>[^\s/@:${}<>*'\x22\x60]{3,200})@[A-Za-z0-9\[]",
    ),
];

/// A name that sounds secret, and its value.
const GUESS: &str = r#"(?i:secret|token|passw(?:or)?d|passphrase|api[_-]?key|access[_-]?key|private[_-]?key|credential)[\w.-]{0,24}["'\]]{0,2}[ \t]{0,4}(?:=>|:=|[:=])[ \t]{0,4}["'`]?(?<s>[A-Za-z0-9+/_=.-]{20,200})"#;

/// One of these stands where the pattern matches.
const GUESS_WORDS: &[&str] = &["secret", "token", "passw", "passphrase", "key", "credential"];

/// From this many bits for a letter on, a value does not read like words.
const RANDOM: f64 = 3.6;

/// The shapes, ready to be looked for.
pub(super) struct Tokens {
    shapes: Likely<TokenKind>,
    guess: Likely<()>,
}

static TOKENS: LazyLock<Tokens> = LazyLock::new(|| Tokens {
    shapes: Likely::new(
        SHAPES.iter().map(|shape| (shape.kind, shape.words, shape.pattern.replace(r"\w", "A-Za-z0-9_"))),
    ),
    guess: Likely::new([((), GUESS_WORDS, GUESS.replace(r"\w", "A-Za-z0-9_"))].into_iter()),
});

impl Tokens {
    pub(super) fn get() -> &'static Self {
        &TOKENS
    }

    /// Everything in the shape of a token. The places may overlap.
    pub(super) fn find<'t>(&'t self, text: &'t str) -> impl Iterator<Item = (Range<usize>, TokenKind)> + 't {
        self.shapes.of(text).flat_map(move |(kind, shape)| {
            shape.captures_iter(text).filter_map(move |found| {
                let place = found.name("s").or_else(|| found.get(0))?.range();
                Some((place, kind))
            })
        })
    }

    /// Values that may be secret: random in themselves, and named like a secret.
    pub(super) fn guesses<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
        self.guess.of(text).flat_map(move |((), guess)| guess.captures_iter(text)).filter_map(|found| {
            let value = found.name("s")?;
            let digits = value.as_str().bytes().any(|byte| byte.is_ascii_digit());
            (digits && entropy(value.as_str()) >= RANDOM).then(|| value.range())
        })
    }

    #[cfg(test)]
    pub(super) fn compile_all(&self) -> usize {
        self.shapes.compile_all() + self.guess.compile_all()
    }
}

/// Bits of surprise for each byte.
fn entropy(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in value.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let all = value.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / all)
        .map(|part| -part * part.log2())
        .sum()
}
