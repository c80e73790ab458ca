//! What a check costs beside reading the file: `cargo run --release -p blueprint-core --example check_cost`. Prints ratios of
//! one run; the times are of the machine it ran on.

#![expect(clippy::print_stdout, reason = "what it measured is what it is for")]

use std::fmt::Write as _;
use std::time::Instant;

use blueprint_core::check::compile;
use blueprint_core::finding::Findings;
use blueprint_core::format::read;
use blueprint_core::source::SourceSet;

const ROUNDS: usize = 7;

/// So many nodes with agents, gates, repairs and values that flow, and so many invariants, all of which hold.
fn blueprint(nodes: usize, invariants: usize) -> String {
    let mut text = "schema = 1\nname = \"large\"\n".to_owned();
    for number in 0..nodes {
        let needs: Vec<String> = [1, 7, 100]
            .iter()
            .filter_map(|back| number.checked_sub(*back))
            .map(|need| format!("\"n{need}\""))
            .collect();
        let _ = writeln!(text, "[nodes.n{number}]\nneeds = [{}]", needs.join(", "));
        match number % 10 {
            3 => text.push_str(
                "agent = { prompt = \"Go on.\", model = \"coding\" }\noutput = { v = \"string\" }\n",
            ),
            7 => text.push_str("gate = { min = 1 }\n"),
            _ => {
                text.push_str("run = \"./step.sh\"\noutput = { v = \"string\" }\n");
                if let Some(other) = number.checked_sub(2).filter(|other| other % 10 != 7) {
                    let _ = writeln!(text, "args = [\"nodes.n{other}.v\"]");
                }
            }
        }
        if number % 10 == 5 {
            let _ = writeln!(text, "repair = {{ from = \"n{}\", rounds = 3 }}", number - 1);
        }
    }
    for number in 0..invariants {
        let before = nodes - 1 - number;
        let passed = if number % 2 == 0 {
            format!("passed = \"n{number}\"")
        } else {
            "gated_by = \"human\"".to_owned()
        };
        let _ = writeln!(text, "[[prove]]\nbefore = \"n{before}\"\n{passed}");
    }
    text
}

/// The median time of something, in milliseconds.
fn median(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

fn main() {
    println!("nodes  invariants  read ms  check ms  check : read");
    for (nodes, invariants) in [(1_000, 0), (1_000, 50), (10_000, 0), (10_000, 50)] {
        let text = blueprint(nodes, invariants);
        let file = "large.toml".into();
        let reading = median(|| {
            let mut findings = Findings::default();
            std::hint::black_box(read(&file, &text, &mut findings));
        });
        let sources = SourceSet::single("large.toml", text);
        let checked = compile(&sources);
        assert!(checked.program.is_some(), "{:?}", checked.findings.iter().next());
        let checking = median(|| {
            std::hint::black_box(compile(&sources));
        });
        println!(
            "{nodes:>5}  {invariants:>10}  {reading:>7.1}  {checking:>8.1}  {:>12.2}",
            checking / reading
        );
    }
}
