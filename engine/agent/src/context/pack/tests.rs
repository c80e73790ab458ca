//! The important goes first, the budget holds, and nothing disappears without a word.

use proptest::prelude::*;

use super::{Cut, Fate, Part, pack};
use crate::context::{Family, count};

fn part(name: &str, priority: u32, text: &str, cut: Cut) -> Part {
    Part { name: name.to_owned(), priority, text: text.to_owned(), cut }
}

#[test]
fn parts_keep_their_order_and_the_important_one_wins() {
    let long = "some words of a long part\n".repeat(50);
    let parts = [
        part("log", 1, &long, Cut::Head),
        part("task", 9, "Do the task.", Cut::Never),
        part("rules", 5, &long, Cut::Tail),
        part("extra", 0, &long, Cut::Never),
    ];
    let packed = pack(Family::Openai, &parts, 600);
    let fates: Vec<Fate> = packed.parts.iter().map(|part| part.fate).collect();
    assert_eq!(fates, [Fate::Cut, Fate::Whole, Fate::Whole, Fate::LeftOut]);
    assert!(packed.text.starts_with("[… "), "{}", packed.text);
    assert!(packed.text.contains("are left out …]\nsome words of a long part\n"));
    assert!(packed.text.find("Do the task.").unwrap() > packed.text.find("some words").unwrap());
    assert!(packed.tokens <= 600);
    assert_eq!(packed.parts[3].missing, long.len() as u64);
    let tail = pack(Family::Openai, &parts[2..3], 100).text;
    assert!(tail.starts_with("some words") && tail.ends_with("bytes after this are left out …]"), "{tail}");
    let everything = pack(Family::Openai, &parts, 10_000);
    assert!(everything.parts.iter().all(|part| part.fate == Fate::Whole && part.missing == 0));
    assert_eq!(pack(Family::Openai, &parts, 0).text, "");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_budget_holds_and_every_part_is_accounted_for(
        texts in prop::collection::vec(("[a-zé \n]{0,600}", 0_u32..4, 0..3), 0..6),
        budget in 0_u64..400,
    ) {
        let cuts = [Cut::Never, Cut::Head, Cut::Tail];
        let parts: Vec<Part> =
            texts.iter().map(|(text, priority, cut)| part("p", *priority, text, cuts[*cut as usize])).collect();
        let packed = pack(Family::Openai, &parts, budget);
        prop_assert!(packed.tokens <= budget);
        prop_assert!(count(Family::Openai, &packed.text) <= budget, "{} > {budget}", count(Family::Openai, &packed.text));
        prop_assert_eq!(packed.parts.len(), parts.len());
        for (report, part) in packed.parts.iter().zip(&parts) {
            match report.fate {
                Fate::Whole => prop_assert_eq!(report.missing, 0),
                Fate::Cut => prop_assert!(report.missing > 0 && part.cut != Cut::Never),
                Fate::LeftOut => prop_assert_eq!(report.missing, part.text.len() as u64),
            }
        }
        prop_assert_eq!(&packed, &pack(Family::Openai, &parts, budget));
    }
}
