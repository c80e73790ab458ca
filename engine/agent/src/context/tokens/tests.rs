//! The estimate is held against a real encoding.

use std::fmt::Write as _;

use base64::Engine as _;
use serde_json::json;

use super::{Family, count, count_message, count_request};
use crate::model::{Message, Request, ToolCall, ToolResult};

/// Bytes without a pattern, the same every time.
fn noise(length: usize) -> Vec<u8> {
    blake3::Hasher::new().finalize_xof().bytes(length)
}

trait Bytes {
    fn bytes(self, length: usize) -> Vec<u8>;
}

impl Bytes for blake3::OutputReader {
    fn bytes(mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }
}

/// Text that people and programs write; the estimate must not be far off.
fn natural() -> Vec<(&'static str, String)> {
    let mut log = String::new();
    for number in 0..60 {
        writeln!(
            log,
            "2026-03-04T12:00:{number:02}.{:06}Z \u{1b}[32m INFO\u{1b}[0m worker{{id={number}}}: test store::append::it_syncs_{number} ... ok ({} ms)",
            number * 7919 % 1_000_000,
            number * 37
        )
        .unwrap();
    }
    vec![
        ("prose", include_str!("../../../../../docs/architecture.md").to_owned()),
        ("readme", include_str!("../../../../../README.md").to_owned()),
        ("code", include_str!("../../scan/tokens.rs").to_owned()),
        ("more code", include_str!("../compact.rs").to_owned()),
        ("manifest", include_str!("../../../Cargo.toml").to_owned()),
        ("log", log),
        ("python", "def handle(self, request, *args, **kwargs):\n    \"\"\"Handle one request.\"\"\"\n    if not request.user.is_authenticated:\n        raise PermissionDenied(f\"no {request.path!r}\")\n    return super().handle(request, *args, **kwargs)\n\n".repeat(8)),
        ("json", serde_json::to_string_pretty(&json!({
            "items": (0..40).map(|number| json!({"id": number * 131, "name": format!("item-{number}"), "tags": ["alpha", "beta"], "ratio": f64::from(number) / 7.0, "ok": number % 2 == 0})).collect::<Vec<_>>(),
        })).unwrap()),
        ("dense json", json!({"jsonrpc": "2.0", "result": (0..40).map(|number| json!({"line": number, "path": format!("src/module_{number}/mod.rs"), "text": "pub fn run(&self) -> Result<(), Error> {"})).collect::<Vec<_>>()}).to_string()),
        ("german", "Die Prüfung schlägt fehl, weil die Übergabe größer als die vereinbarte Höchstgrenze ist. Bitte ändern Sie die Einstellungen und führen Sie den Befehl erneut aus.\n".repeat(6)),
        ("french", "L'échec de la vérification s'explique par une donnée trop élevée ; modifiez la règle, puis relancez l'exécution du réseau.\n".repeat(6)),
        ("russian", "Проверка завершилась с ошибкой, потому что значение превышает допустимый предел. Измените настройки и запустите команду ещё раз.\n".repeat(6)),
    ]
}

/// The text in lines of so many bytes, each between these.
fn lines(text: &str, size: usize, before: &str, after: &str) -> String {
    text.as_bytes()
        .chunks(size)
        .fold(String::new(), |all, part| all + before + &String::from_utf8_lossy(part) + after)
}

/// Text that is harder to estimate.
fn dense() -> Vec<(&'static str, String)> {
    let bytes = noise(3000);
    let hex = bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let letters: String = bytes.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    let base64 = base64::engine::general_purpose::STANDARD.encode(&bytes);
    vec![
        ("base64 in lines", lines(&base64, 64, "", "\n")),
        ("base64", base64),
        ("url base64", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes)),
        ("hashes", lines(&hex, 40, "commit ", "\n")),
        ("hex", hex),
        ("random words", lines(&letters, 17, "", " ")),
        ("numbers", (0..400_u64).fold(String::new(), |all, number| format!("{all}{} ", number * number * 7919))),
        ("signs", "}))];//=>{[(!=&&||::<>->#$%^*~`'\"?,.\n".repeat(20)),
        ("chinese", "检查失败了，因为数值超过了允许的上限。请修改配置后重新运行该命令，并确认所有测试都已通过。\n".repeat(8)),
        ("japanese", "値が許容される上限を超えているため、検査に失敗しました。設定を変更してから、もう一度コマンドを実行してください。\n".repeat(8)),
        ("korean", "값이 허용된 한도를 초과하여 검사가 실패했습니다. 설정을 변경한 후 명령을 다시 실행하십시오.\n".repeat(8)),
        ("arabic", "فشل الفحص لأن القيمة تتجاوز الحد المسموح به. يرجى تغيير الإعدادات وتشغيل الأمر مرة أخرى.\n".repeat(8)),
        ("hindi", "जाँच विफल हुई क्योंकि मान अनुमत सीमा से अधिक है। कृपया सेटिंग बदलें और आदेश फिर से चलाएँ।\n".repeat(8)),
        ("thai", "การตรวจสอบล้มเหลวเนื่องจากค่าเกินขีดจำกัดที่อนุญาต โปรดเปลี่ยนการตั้งค่าแล้วเรียกใช้คำสั่งอีกครั้ง\n".repeat(8)),
        ("emoji", "🎉🚀🧪 ✅ ❌ 👩‍💻 🔥⚠️ → ├── └── │ ─── ▶ ● … « »\n".repeat(12)),
    ]
}

fn real(text: &str) -> u64 {
    tiktoken_rs::o200k_base_singleton().encode_ordinary(text).len() as u64
}

/// The text and pieces of it.
fn pieces(text: &str, size: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(size).filter(|piece| piece.len() == size).map(|piece| piece.iter().collect()).collect()
}

#[test]
fn the_estimate_is_never_below_a_real_encoding() {
    let mut wrong = Vec::new();
    for (name, text) in natural().into_iter().chain(dense()) {
        for (which, piece) in [text.clone()].into_iter().chain(pieces(&text, 1500)).enumerate() {
            let (estimate, real) = (count(Family::Openai, &piece), real(&piece));
            if estimate < real {
                wrong.push(format!("{name} {which}: {estimate} < {real}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_estimate_is_not_far_above_a_real_encoding() {
    let mut wrong = Vec::new();
    for (name, text) in natural() {
        let ratio = count(Family::Openai, &text) as f64 / real(&text) as f64;
        if ratio > 1.7 {
            wrong.push(format!("{name}: {ratio:.2}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn families_are_known_by_name_and_unknown_ones_get_a_margin() {
    assert_eq!(Family::of("anthropic/claude-sonnet-5"), Family::Anthropic);
    assert_eq!(Family::of("openai/gpt-5"), Family::Openai);
    assert_eq!(Family::of("google/gemini-3"), Family::Google);
    assert_eq!(Family::of("ollama/qwen3"), Family::Other);
    let text = "Some words that have to be counted for all of them.";
    assert!(count(Family::Other, text) > count(Family::Openai, text));
    assert_eq!(count(Family::Other, ""), 0);
    assert!(count(Family::Other, "äöü🎉") <= "äöü🎉".len() as u64);
}

#[test]
fn everything_in_a_request_counts() {
    let family = Family::Openai;
    let call = ToolCall {
        id: "call_1".to_owned(),
        name: "shell".to_owned(),
        arguments: json!({"argv": ["ls", "-la"]}),
    };
    let bare = Message::Assistant { text: "I look.".to_owned(), calls: Vec::new(), opaque: None };
    let full = Message::Assistant {
        text: "I look.".to_owned(),
        calls: vec![call],
        opaque: Some(json!("signature")),
    };
    assert!(count_message(family, &full) > count_message(family, &bare) + 16);
    let result = ToolResult {
        id: "call_1".to_owned(),
        name: "shell".to_owned(),
        content: "word ".repeat(100),
        ok: true,
    };
    let request = Request {
        system: "You are careful.".to_owned(),
        messages: vec![bare, full, Message::Tools { results: vec![result] }],
        tools: Vec::new(),
        max_output: 10,
        temperature: None,
    };
    let all = count_request(family, &request);
    assert!(all > 100);
    assert!(all >= request.messages.iter().map(|message| count_message(family, message)).sum::<u64>());
}
