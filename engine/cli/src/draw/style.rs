//! Colours and rules of the SVG, for light and dark. Every colour is written twice, plain and as a
//! variable, because some viewers know no variables and would paint everything black.

use super::svg::Scheme;
use super::text::put;

/// Name, light value, dark value. Words keep a contrast of at least 4.5 on what they stand on.
const COLOURS: [(&str, &str, &str); 29] = [
    ("page", "#f6f7f9", "#0e131a"),
    ("edge-of-page", "#e3e7ec", "#202936"),
    ("surface", "#ffffff", "#18202b"),
    ("line", "#c3cbd5", "#3a4758"),
    ("ink", "#18212d", "#e8edf4"),
    ("soft", "#566272", "#a3b0c0"),
    ("wire", "#8793a3", "#66758a"),
    ("frame", "#eceff4", "#131a24"),
    ("repair", "#a34a06", "#f2a65a"),
    ("region", "#f08c2e", "#f2a65a"),
    ("run", "#3d5a80", "#93b7e3"),
    ("edit", "#0b736e", "#5fd0c7"),
    ("http", "#0a6796", "#67bdee"),
    ("agent", "#7438c9", "#bd9bf6"),
    ("gate", "#9a5700", "#f0b454"),
    ("ci", "#3f4fc2", "#a0adff"),
    ("forge", "#b12d69", "#f392bb"),
    ("wait", "#5a6675", "#aab6c4"),
    ("blueprint", "#2a743c", "#82d294"),
    ("trusted", "#2a743c", "#82d294"),
    ("internal", "#1d69a8", "#73b9f2"),
    ("generated", "#7438c9", "#bd9bf6"),
    ("untrusted", "#bd2935", "#ff9095"),
    ("succeeded", "#1f7a3a", "#6fd08a"),
    ("failed", "#c42534", "#ff858c"),
    ("running", "#1766c2", "#6fb4ff"),
    ("waiting", "#9a5700", "#f0b454"),
    ("idle", "#6a7686", "#8a98aa"),
    ("on-state", "#ffffff", "#0e131a"),
];

/// `&` stands for the picture, `$name` for a colour.
const RULES: &str = "\
&{font-family:ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
& text{fill:$ink}
& .page{fill:$page;stroke:$edge-of-page}
& .heading{font-size:19px;font-weight:650}
& .sub{font-size:13px;fill:$soft}
& .box{fill:$surface;stroke:$line;stroke-width:1.25}
& .card{fill:$surface;stroke:$line;stroke-width:1}
& .when .box{stroke-dasharray:5 4;stroke:$soft}
& .inner{fill:none;stroke:$gate;stroke-width:1;stroke-opacity:.55}
& .tile{stroke:none;fill-opacity:.13}
& .i{fill:none;stroke-width:1.5;stroke-linecap:round;stroke-linejoin:round}
& .l{font-size:14px;font-weight:600}
& .d{font-size:11px;fill:$soft}
& .m{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}
& .b{font-size:11px;fill:$soft;text-anchor:end}
& .chip{fill:none;stroke-width:1}
& .ct{font-size:10px;text-anchor:middle}
& .tab{fill:$surface;stroke:$soft;stroke-width:1}
& .tt{font-size:10px;fill:$soft;text-anchor:middle}
& .frame{fill:$frame;stroke:$line;stroke-width:1.25}
& .when .frame{stroke-dasharray:6 4;stroke:$soft}
& .ft{font-size:13px;font-weight:600}
& .plate{fill:$frame}
& .wire{fill:none;stroke:$wire;stroke-width:1.5}
& .tip{fill:$wire}
& .back{fill:none;stroke:$repair;stroke-width:1.6;stroke-dasharray:5 4}
& .back-tip{fill:$repair}
& .back-label{font-size:11px;fill:$repair}
& .back-plate{fill:$page}
& .hull{opacity:.1}
& .hull rect{fill:$region}
& .hull path{fill:none;stroke:$region;stroke-width:34;stroke-linecap:round;stroke-linejoin:round}
& .rim{fill:none;stroke:$region;stroke-opacity:.35;stroke-width:1}
& .lt{font-size:11px;fill:$soft}
& .lh{font-size:11px;font-weight:600}
& .rule{stroke:$edge-of-page;stroke-width:1}
& .mark{stroke:$page;stroke-width:2}
& .glyph{fill:none;stroke:$on-state;stroke-width:1.7;stroke-linecap:round;stroke-linejoin:round}
& .s-succeeded .box{stroke:$succeeded}
& .s-failed .box{stroke:$failed;stroke-width:2}
& .s-running .box{stroke:$running;stroke-width:2}
& .s-waiting .box{stroke:$waiting;stroke-width:1.75}
& .s-succeeded .mark{fill:$succeeded}
& .s-failed .mark{fill:$failed}
& .s-running .mark{fill:$running}
& .s-waiting .mark{fill:$waiting}
& .s-pending .mark,& .s-skipped .mark,& .s-cancelled .mark{fill:$idle}
& .s-skipped .l,& .s-cancelled .l{fill:$soft}
& .s-skipped .box,& .s-cancelled .box{fill:$page}
& .s-skipped .tile,& .s-cancelled .tile{fill-opacity:.05}
@media (prefers-reduced-motion:no-preference){& .s-running .mark{animation:&-pulse 1.6s ease-in-out infinite}}
@keyframes &-pulse{50%{fill-opacity:.45}}
";

const KINDS: [&str; 9] = ["run", "edit", "http", "agent", "gate", "ci", "forge", "wait", "blueprint"];
const TIERS: [&str; 4] = ["trusted", "internal", "generated", "untrusted"];

/// The style sheet, valid for the picture whose class is `prefix`.
pub(super) fn sheet(prefix: &str, scheme: Scheme) -> String {
    let mut rules = RULES.to_owned();
    for kind in KINDS {
        put(
            &mut rules,
            format_args!("& .k-{kind} .tile{{fill:${kind}}}\n& .k-{kind} .i{{stroke:${kind}}}\n"),
        );
    }
    rules += "& .k-gate .box{stroke:$gate;stroke-width:1.5}\n";
    for tier in TIERS {
        put(
            &mut rules,
            format_args!("& .t-{tier} .chip{{stroke:${tier}}}\n& .t-{tier} .ct{{fill:${tier}}}\n"),
        );
    }
    let dark_first = scheme == Scheme::Dark;
    let mut out = format!(".{prefix}{{{}}}\n", variables(prefix, dark_first));
    if scheme == Scheme::Auto {
        put(
            &mut out,
            format_args!("@media (prefers-color-scheme:dark){{.{prefix}{{{}}}}}\n", variables(prefix, true)),
        );
    }
    for rule in rules.lines() {
        let rule = rule.replace("&-", &format!("{prefix}-")).replace('&', &format!(".{prefix}"));
        out += &coloured(&rule, prefix, dark_first);
        out.push('\n');
    }
    out
}

fn variables(prefix: &str, dark: bool) -> String {
    let mut out = String::new();
    for (name, light_value, dark_value) in COLOURS {
        let value = if dark { dark_value } else { light_value };
        put(&mut out, format_args!("--{prefix}-{name}:{value};"));
    }
    out
}

/// Writes each declaration that uses a colour as the plain value followed by the variable.
fn coloured(rule: &str, prefix: &str, dark: bool) -> String {
    let mut out = String::with_capacity(rule.len() * 2);
    let mut declaration = 0;
    let mut rest = rule;
    while let Some(c) = rest.chars().next() {
        if c == '$' {
            let end = rest[1..]
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                .map_or(rest.len(), |e| e + 1);
            let name = &rest[1..end];
            let value =
                COLOURS.iter().find(|c| c.0 == name).map_or("inherit", |c| if dark { c.2 } else { c.1 });
            let property = out[declaration..].to_owned();
            put(&mut out, format_args!("{value};{property}var(--{prefix}-{name})"));
            rest = &rest[end..];
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
        if c == ';' || c == '{' {
            declaration = out.len();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(hex: &str) -> f64 {
        let part = |at: usize| {
            let v = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn words_are_readable_in_both_schemes() {
        let find = |name: &str| COLOURS.iter().find(|c| c.0 == name).unwrap();
        for ground in ["page", "surface", "frame"].map(find) {
            for words in KINDS.iter().chain(&TIERS).chain(&["ink", "soft", "repair"]).map(|n| find(n)) {
                assert!(contrast(ground.1, words.1) >= 4.5, "light {} on {}", words.0, ground.0);
                assert!(contrast(ground.2, words.2) >= 4.5, "dark {} on {}", words.0, ground.0);
            }
        }
    }

    #[test]
    fn every_colour_named_in_a_rule_exists() {
        assert!(!sheet("p", Scheme::Auto).contains("inherit"));
    }

    #[test]
    fn a_colour_has_a_plain_fallback_before_its_variable() {
        assert_eq!(coloured("a{fill:$page;x:y}", "p", false), "a{fill:#f6f7f9;fill:var(--p-page);x:y}");
    }
}
