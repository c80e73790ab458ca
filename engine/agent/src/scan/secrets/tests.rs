//! Nothing of a secret comes out, whatever the spelling and wherever the pieces are cut.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::{MAX_BYTES, RedactError, Redactor, forms};

fn redactor(secrets: &[(&str, &str)]) -> Redactor {
    Redactor::new(secrets).unwrap()
}

/// What comes out when the pieces are cut at every multiple of `size`.
fn in_pieces(redactor: &Redactor, text: &[u8], size: usize) -> Vec<u8> {
    let mut stream = redactor.stream();
    let mut clean = Vec::new();
    for piece in text.chunks(size) {
        clean.extend(stream.push(piece));
    }
    clean.extend(stream.finish());
    clean
}

/// The definition, without any cleverness: find every form everywhere, join what overlaps.
fn naive(secrets: &[(&str, Vec<u8>)], text: &[u8]) -> Vec<u8> {
    let mut patterns = std::collections::BTreeMap::new();
    for (name, value) in secrets {
        for form in forms::of(value) {
            patterns.entry(form).or_insert_with(|| format!("[secret:{name}]"));
        }
    }
    let mut found: Vec<(usize, usize, &str)> = Vec::new();
    for (form, marker) in &patterns {
        let places = text.windows(form.len()).enumerate().filter(|(_, window)| window == form);
        found.extend(places.map(|(at, _)| (at, at + form.len(), marker.as_str())));
    }
    found.sort_by_key(|&(start, end, _)| (start, std::cmp::Reverse(end)));
    let mut joined: Vec<(usize, usize, usize, &str)> = Vec::new();
    for (start, end, marker) in found {
        match joined.last_mut().filter(|last| last.1 > start) {
            Some(last) => {
                last.1 = last.1.max(end);
                if end - start > last.2 {
                    last.2 = end - start;
                    last.3 = marker;
                }
            }
            None => joined.push((start, end, end - start, marker)),
        }
    }
    let mut clean = Vec::new();
    let mut at = 0;
    for (start, end, _, marker) in joined {
        clean.extend_from_slice(&text[at..start]);
        clean.extend_from_slice(marker.as_bytes());
        at = end;
    }
    clean.extend_from_slice(&text[at..]);
    clean
}

#[test]
fn a_secret_is_replaced_by_its_name() {
    let redactor = redactor(&[("API_TOKEN", "hunter2-hunter3")]);
    assert_eq!(redactor.redact_str("a hunter2-hunter3 b"), "a [secret:API_TOKEN] b");
    assert_eq!(redactor.redact_str("hunter2-hunter3hunter2-hunter3"), "[secret:API_TOKEN][secret:API_TOKEN]");
    assert_eq!(redactor.redact_str("hunter2-"), "hunter2-");
}

#[test]
fn a_cut_at_any_place_changes_nothing() {
    let redactor = redactor(&[("A", "p@ss/w\"rd+é"), ("B", "ss/w\"rd+é-and-more"), ("C", "p@ss")]);
    let mut text = String::from("start ");
    for form in forms::of("p@ss/w\"rd+é".as_bytes()).union(&forms::of(b"ss/w\"rd+\xc3\xa9-and-more")) {
        write!(text, "<{}>", String::from_utf8_lossy(form)).unwrap();
    }
    text.push_str("p@ss/w\"rd+é-and-more p@sp@ss/w\"rd+ end");
    let text = text.as_bytes();
    let whole = redactor.redact(text);
    for at in 0..=text.len() {
        let mut stream = redactor.stream();
        let mut clean = stream.push(&text[..at]);
        clean.extend(stream.push(&text[at..]));
        clean.extend(stream.finish());
        assert_eq!(clean, whole, "cut at {at}");
    }
    for size in 1..64 {
        assert_eq!(in_pieces(&redactor, text, size), whole, "pieces of {size}");
    }
}

#[test]
fn every_spelling_is_found() {
    let value = "Pa\"ss\\ wörd/+='<&>\n~!*";
    let redactor = redactor(&[("S", value)]);
    let json = serde_json::to_string(value).unwrap();
    let twice = serde_json::to_string(&json).unwrap();
    let hex: String = value.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let inner = |quoted: &str| quoted[1..quoted.len() - 1].to_owned();
    let spellings = [
        value.to_owned(),
        inner(&json),
        inner(&twice)[2..inner(&twice).len() - 2].to_owned(),
        hex.to_uppercase(),
        hex,
        STANDARD.encode(value),
        URL_SAFE_NO_PAD.encode(value),
        "Pa%22ss%5C%20w%C3%B6rd%2F%2B%3D'%3C%26%3E%0A~!*".to_owned(),
        "Pa%22ss%5c%20w%c3%b6rd%2f%2b%3d%27%3c%26%3e%0a~%21%2a".to_owned(),
        "Pa%22ss%5C+w%C3%B6rd%2F%2B%3D%27%3C%26%3E%0A%7E%21*".to_owned(),
        "Pa\\\"ss\\\\ w\\u00f6rd/+='<&>\\n~!*".to_owned(),
        "Pa\\\"ss\\\\ w\\u00F6rd/+='<&>\\n~!*".to_owned(),
        "Pa\\\"ss\\\\ wörd/+='\\u003c\\u0026\\u003e\\n~!*".to_owned(),
        "Pa\\\"ss\\\\ wörd\\/+='<&>\\n~!*".to_owned(),
        "Pa\"ss\\ wörd/+='\\''<&>\n~!*".to_owned(),
    ];
    for spelling in spellings {
        let clean = redactor.redact_str(&format!("[{spelling}]"));
        assert_eq!(clean, "[[secret:S]]", "{spelling}");
    }
}

#[test]
fn base64_of_a_text_around_the_secret_does_not_spell_it() {
    let secret = "correct horse battery";
    let redactor = redactor(&[("S", secret)]);
    for before in 0..9 {
        for after in 0..4 {
            let text = format!("{}{secret}{}", &"user:name"[..before], &"tail"[..after]);
            for encoded in [STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                let clean = redactor.redact_str(&encoded);
                assert!(clean.contains("[secret:S]"), "{clean}");
                // Up to two characters on each side also hold bits of the neighbours and may stay.
                assert!(clean.len() <= "[secret:S]".len() + before * 4 / 3 + after * 4 / 3 + 8, "{clean}");
            }
        }
    }
}

#[test]
fn of_overlapping_secrets_no_rest_stays_behind() {
    let redactor =
        redactor(&[("A", "abcdef"), ("B", "defghij"), ("C", "cdef"), ("D", "xyzw"), ("E", "wxyz")]);
    assert_eq!(redactor.redact_str("-abcdefghij-"), "-[secret:B]-");
    assert_eq!(redactor.redact_str("-abcdef-"), "-[secret:A]-");
    assert_eq!(redactor.redact_str("-bcdefg-"), "-b[secret:C]g-");
    assert_eq!(redactor.redact_str("-xyzwxyz-"), "-[secret:D]-");
}

#[test]
fn a_secret_that_repeats_itself_needs_no_memory() {
    let redactor = redactor(&[("A", "aaaa")]);
    let mut stream = redactor.stream();
    for _ in 0..1000 {
        assert_eq!(stream.push(&[b'a'; 1000]), b"");
        assert!(format!("{stream:?}").contains("held_back: 0"), "{stream:?}");
    }
    assert_eq!(stream.push(b"b"), b"[secret:A]b");
    assert_eq!(stream.finish(), b"");
}

#[test]
fn only_what_may_become_a_secret_is_held_back() {
    let redactor = redactor(&[("A", "secret-value")]);
    let mut stream = redactor.stream();
    assert_eq!(stream.push(b"line one\n"), b"line one\n");
    assert_eq!(stream.push(b"line secret-"), b"line ");
    assert_eq!(stream.push(b"agent\n"), b"secret-agent\n");
    assert_eq!(stream.push(b"secret-value"), b"");
    assert_eq!(stream.push(b"\n"), b"[secret:A]\n");
    assert_eq!(stream.push(b"secret-valu"), b"");
    assert_eq!(stream.finish(), b"secret-valu");
}

#[test]
fn secrets_of_several_lines_are_found_line_by_line_too() {
    let key =
        "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQC7\n-----END KEY-----\n";
    let redactor = redactor(&[("KEY", key)]);
    assert_eq!(redactor.redact_str(key), "[secret:KEY]\n");
    assert_eq!(
        redactor.redact_str("1| -----BEGIN KEY-----\n2| MIIEvQIBADANBgkqhkiG9w0BAQEF\r\n"),
        "1| -----BEGIN KEY-----\n2| [secret:KEY]\r\n"
    );
    assert_eq!(redactor.redact_str(&key.replace('\n', "\\n")), "[secret:KEY]\\n");
}

#[test]
fn a_secret_from_a_file_is_found_without_its_newline_and_encoded_with_it() {
    let redactor = redactor(&[("T", "token-from-file\n")]);
    assert_eq!(redactor.redact_str("token-from-file\nnext"), "[secret:T]\nnext");
    assert_eq!(redactor.redact_str(&STANDARD.encode("token-from-file\n")), "[secret:T]");
}

#[test]
fn secrets_and_texts_need_not_be_text() {
    let redactor = Redactor::new(&[("K", [0xff, 0x00, 0xc3, 0x28, 0x80])]).unwrap();
    assert_eq!(redactor.redact(b"a\xff\x00\xc3\x28\x80b\xfe"), b"a[secret:K]b\xfe");
    assert_eq!(redactor.redact(b"ff00c32880 /wDDKIA="), b"[secret:K] [secret:K]");
}

#[test]
fn secrets_that_cannot_be_redacted_are_refused_by_name() {
    for short in ["", "abc", " abc\n"] {
        let error = Redactor::new(&[("OK", "long enough"), ("SHORT", short)]).unwrap_err();
        assert!(
            matches!(&error, RedactError::TooShort { name, length } if name == "SHORT" && *length == short.trim().len())
        );
        let text = error.to_string();
        assert!(text.contains("`SHORT`") && text.contains("destroying") && !text.contains("abc"), "{text}");
    }
    let long = "x".repeat(MAX_BYTES + 1);
    assert!(matches!(Redactor::new(&[("L", &long)]), Err(RedactError::TooLong { .. })));
    assert!(Redactor::new(&[("OK", "four")]).is_ok());
}

#[test]
fn no_secrets_means_no_change() {
    let redactor = Redactor::new::<&str, &str>(&[]).unwrap();
    assert_eq!(redactor.redact(b"as it \xff is"), b"as it \xff is");
    let mut stream = redactor.stream();
    assert_eq!(stream.push(b"now"), b"now");
}

#[test]
fn names_cannot_carry_control_characters_into_a_terminal() {
    let redactor = redactor(&[("a\u{1b}[31m]ü b", "some-secret")]);
    assert_eq!(redactor.redact_str("some-secret"), "[secret:a__31m___b]");
}

#[test]
fn debug_output_shows_no_secret() {
    let redactor = redactor(&[("A", "visible-secret")]);
    let mut stream = redactor.stream();
    stream.push(b"visible-sec");
    assert!(!format!("{redactor:?} {stream:?}").contains("visible"));
}

#[test]
fn long_input_takes_time_in_proportion() {
    // Nearly every byte begins a form that fails late; a search that starts over would not finish.
    let secret = "a".repeat(30_000) + "b";
    let redactor = redactor(&[("A", secret.as_str())]);
    let text = vec![b'a'; 4_000_000];
    assert_eq!(redactor.redact(&text).len(), text.len());
}

/// Text over a small alphabet, so that secrets overlap themselves and each other.
fn few_letters(sizes: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"ab\"6".to_vec()), sizes)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_stream_does_what_the_definition_says(
        values in prop::collection::vec(few_letters(4..8), 0..4),
        pieces in prop::collection::vec((few_letters(0..12), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..12),
    ) {
        const NAMES: [&str; 4] = ["A", "B", "C", "D"];
        let secrets: Vec<(&str, Vec<u8>)> = NAMES.into_iter().zip(values).collect();
        let redactor = Redactor::new(&secrets).unwrap();
        // Between random letters stand whole forms and the beginnings of some.
        let mut text = Vec::new();
        let mut cuts = Vec::new();
        for (noise, which, cut) in pieces {
            text.extend(noise);
            cuts.push(text.len());
            if !secrets.is_empty() {
                let forms: Vec<Vec<u8>> = forms::of(&which.get(&secrets).1).into_iter().collect();
                let form = cut.get(&forms);
                text.extend_from_slice(&form[..=cut.index(form.len())]);
            }
        }
        let expected = naive(&secrets, &text);
        prop_assert_eq!(redactor.redact(&text), expected.clone());
        let mut cut_out = Vec::new();
        let mut from = 0;
        for (place, marker) in redactor.places(&text) {
            cut_out.extend_from_slice(&text[from..place.start]);
            cut_out.extend_from_slice(marker.as_bytes());
            from = place.end;
        }
        cut_out.extend_from_slice(&text[from..]);
        prop_assert_eq!(&cut_out, &expected);
        let mut stream = redactor.stream();
        let mut clean = Vec::new();
        let mut at = 0;
        for cut in cuts {
            clean.extend(stream.push(&text[at..cut]));
            at = cut;
        }
        clean.extend(stream.push(&text[at..]));
        clean.extend(stream.finish());
        prop_assert_eq!(&clean, &expected);
        prop_assert_eq!(&in_pieces(&redactor, &text, 1), &expected);
    }

    #[test]
    fn no_spelling_of_a_random_secret_survives(secret in prop::collection::vec(any::<u8>(), 4..40), noise in ".{0,20}") {
        prop_assume!(secret.trim_ascii().len() >= 4);
        let redactor = Redactor::new(&[("S", &secret)]).unwrap();
        for form in forms::of(&secret) {
            let mut text = noise.clone().into_bytes();
            text.extend_from_slice(&form);
            let clean = redactor.redact(&text);
            prop_assert!(!clean.windows(form.len()).any(|window| window == form) || b"[secret:S]".windows(form.len()).any(|window| window == form));
        }
    }
}
