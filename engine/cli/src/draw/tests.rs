//! Tests of the pictures: what they say, that nothing in a blueprint can break them, and that
//! the layout keeps its promises on random graphs.

use super::arrange::Drawing;
use super::face::HEADER;
use super::geometry::{Path, Point, Rect, Step};
use super::scene::{End, Scene};
use super::svg::drawing;
use super::*;
use proptest::prelude::*;

fn node(id: &str, kind: NodeKind, tier: Option<Tier>, detail: &str) -> PictureNode {
    PictureNode { tier, detail: Some(detail.to_owned()), ..PictureNode::new(id, id, kind) }
}

fn flaky() -> Picture {
    let made = Some(Tier::Generated);
    let names = ["reproduce", "fix", "verify", "pr", "ci", "review", "merge"];
    Picture {
        title: "fix-flaky-test".to_owned(),
        subtitle: Some("Reproduce a flaky test, fix it, prove the fix.".to_owned()),
        nodes: vec![
            node("reproduce", NodeKind::Run, Some(Tier::Trusted), "./scripts/repeat.sh"),
            node("fix", NodeKind::Agent, made, "prompts/fix.md"),
            node("verify", NodeKind::Run, made, "cargo test"),
            node("pr", NodeKind::Forge, made, "open_pull_request"),
            node("ci", NodeKind::Ci, made, "required checks"),
            node("review", NodeKind::Gate, None, "1 × write"),
            node("merge", NodeKind::Forge, made, "merge"),
        ],
        edges: names.windows(2).map(|w| PictureEdge::needs(w[0], w[1])).collect(),
        groups: vec![],
        regions: vec![
            Region { from: "fix".to_owned(), closer: "verify".to_owned(), rounds: Rounds::Local(3) },
            Region { from: "fix".to_owned(), closer: "ci".to_owned(), rounds: Rounds::Ci(2) },
        ],
    }
}

fn nested() -> Picture {
    let inside = |id: &str| PictureNode { group: Some(0), ..node(id, NodeKind::Run, None, "sh") };
    let deploy = PictureNode {
        each: true,
        tier: Some(Tier::Internal),
        ..PictureNode::new("deploy", "deploy", NodeKind::Blueprint)
    };
    let join = PictureNode { join: Join::Settled, ..node("report", NodeKind::Forge, None, "comment") };
    Picture {
        title: "release".to_owned(),
        nodes: vec![
            node("build", NodeKind::Run, None, "make"),
            deploy,
            inside("deploy/canary"),
            inside("deploy/full"),
            join,
        ],
        edges: vec![
            PictureEdge::needs("build", "deploy"),
            PictureEdge::needs("build", "deploy/full"),
            PictureEdge::needs("deploy/canary", "deploy/full"),
            PictureEdge::needs("deploy", "report"),
        ],
        groups: vec![Group { id: "deploy".to_owned(), title: "deploy".to_owned(), parent: None }],
        ..Picture::default()
    }
}

/// Snapshots are named after their test alone, wherever this module is compiled.
fn unprefixed(assertion: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(assertion);
}

#[test]
fn mermaid_of_a_chain_with_repairs() {
    unprefixed(|| insta::assert_snapshot!(mermaid(&flaky())));
}

#[test]
fn mermaid_of_an_opened_sub_blueprint() {
    unprefixed(|| insta::assert_snapshot!(mermaid(&nested())));
}

#[test]
fn dot_of_a_chain_with_repairs() {
    unprefixed(|| insta::assert_snapshot!(dot(&flaky())));
}

#[test]
fn dot_of_an_opened_sub_blueprint() {
    unprefixed(|| insta::assert_snapshot!(dot(&nested())));
}

#[test]
fn svg_of_a_chain_with_repairs() {
    unprefixed(|| {
        insta::assert_snapshot!(svg(
            &flaky(),
            &SvgOptions { scheme: Scheme::Light, ..SvgOptions::default() }
        ));
    });
}

#[test]
fn the_same_picture_gives_the_same_text() {
    for picture in [flaky(), nested()] {
        assert_eq!(svg(&picture, &SvgOptions::default()), svg(&picture.clone(), &SvgOptions::default()));
    }
}

#[test]
fn an_empty_graph_and_a_single_node_are_documents() {
    let single = Picture { nodes: vec![node("only", NodeKind::Run, None, "true")], ..Picture::default() };
    for picture in [Picture::default(), single] {
        well_formed(&picture);
        dot(&picture);
        assert!(mermaid(&picture).starts_with("flowchart"));
    }
}

#[test]
fn a_legend_explains_only_what_occurs() {
    let drawn = svg(&flaky(), &SvgOptions::default());
    assert!(drawn.contains("written by a model") && !drawn.contains("written by strangers"));
    assert!(!drawn.contains("once per item") && !drawn.contains("after all, however they end"));
    let bare = svg(&flaky(), &SvgOptions { legend: Legend::None, ..SvgOptions::default() });
    assert!(!bare.contains("written by a model"));
}

#[test]
fn a_picture_refers_to_nothing_outside_itself() {
    let drawn = svg(&nested(), &SvgOptions::default());
    let document = roxmltree::Document::parse(&drawn).unwrap();
    for element in document.descendants().filter(roxmltree::Node::is_element) {
        assert!(!matches!(element.tag_name().name(), "script" | "image" | "foreignObject" | "a"));
        for attribute in element.attributes() {
            assert!(!attribute.name().starts_with("on"), "{}", attribute.name());
            assert!(attribute.name() != "href" || attribute.value().starts_with('#'));
        }
    }
    assert!(!drawn.contains("url(") && !drawn.contains("@import"));
}

#[test]
fn a_prefix_from_elsewhere_cannot_leave_its_attribute() {
    let options = SvgOptions { prefix: "1\"><x>{}".to_owned(), ..SvgOptions::default() };
    let drawn = svg(&flaky(), &options);
    assert!(
        drawn.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"bp1x\""),
        "{}",
        &drawn[..90]
    );
}

#[test]
fn a_node_opened_up_is_a_frame_and_not_a_box() {
    let picture = nested();
    let scene = Scene::new(&picture);
    let d = drawing(&scene, None);
    assert!(d.boxes[1].is_none());
    assert!(inside(&d.frames[0], &d.boxes[2].unwrap()) && inside(&d.frames[0], &d.boxes[3].unwrap()));
    assert!(!d.frames[0].overlaps(&d.boxes[0].unwrap()));
}

#[test]
fn nonsense_ids_parents_and_edges_are_survived() {
    let mut picture = nested();
    picture.groups.push(Group { id: "a".to_owned(), title: "a".to_owned(), parent: Some(2) });
    picture.groups.push(Group { id: "b".to_owned(), title: "b".to_owned(), parent: Some(1) });
    picture.groups.push(Group { id: "c".to_owned(), title: "c".to_owned(), parent: Some(99) });
    for g in 0..40 {
        let parent = Some(picture.groups.len() - usize::from(g % 7 != 0));
        picture.groups.push(Group { id: format!("deep{g}"), title: "deep".to_owned(), parent });
    }
    picture.nodes.push(node("build", NodeKind::Gate, None, "twice"));
    picture.nodes.push(PictureNode { group: Some(77), ..node("far", NodeKind::Wait, None, "") });
    for (from, to) in [("deploy", "deploy/full"), ("nowhere", "build"), ("far", "far"), ("report", "build")] {
        picture.edges.push(PictureEdge::needs(from, to));
        picture.edges.push(PictureEdge { kind: EdgeKind::Repair, ..PictureEdge::needs(from, to) });
    }
    well_formed(&picture);
    assert!(dot(&picture).ends_with("}\n") && !mermaid(&picture).is_empty());
}

#[test]
fn a_graph_too_large_to_lay_out_well_is_still_sound() {
    let mut picture = Picture::default();
    for i in 0..10_000_usize {
        picture.nodes.push(PictureNode::new(format!("n{i}"), format!("node {i}"), NodeKind::ALL[i % 9]));
        for k in 1..=3_usize {
            let from = i.wrapping_mul(2_654_435_761).wrapping_mul(k) % i.max(1);
            picture.edges.push(PictureEdge::needs(format!("n{from}"), format!("n{i}")));
        }
    }
    let scene = Scene::new(&picture);
    let d = drawing(&scene, None);
    let mut boxes: Vec<Rect> = d.boxes.iter().copied().flatten().collect();
    assert_eq!(boxes.len(), 10_000);
    boxes.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x.total_cmp(&b.x)));
    for pair in boxes.windows(2) {
        let row = (pair[0].y - pair[1].y).abs() < 0.1;
        assert!(if row { pair[0].right() < pair[1].x } else { pair[0].bottom() < pair[1].y });
    }
    forward(&scene, &d);
}

fn well_formed(picture: &Picture) {
    for direction in [Direction::Down, Direction::Right] {
        let options = SvgOptions { direction: Some(direction), ..SvgOptions::default() };
        let drawn = svg(picture, &options);
        if let Err(error) = roxmltree::Document::parse(&drawn) {
            panic!("{error}\n{drawn}");
        }
    }
}

fn inside(outer: &Rect, inner: &Rect) -> bool {
    let slack = 0.2;
    outer.x <= inner.x + slack
        && outer.y <= inner.y + slack
        && inner.right() <= outer.right() + slack
        && inner.bottom() <= outer.bottom() + slack
}

/// Every edge starts before it ends, along the flow.
fn forward(scene: &Scene<'_>, d: &Drawing) {
    let rect = |end: End| match end {
        End::Node(n) => d.boxes[n].unwrap(),
        End::Group(g) => d.frames[g],
    };
    for &(from, to) in &scene.needs {
        let (a, b) = (rect(from), rect(to));
        let ordered = match d.direction {
            Direction::Down => a.bottom() < b.y,
            Direction::Right => a.right() < b.x,
        };
        assert!(ordered, "{from:?} {a:?} is not before {to:?} {b:?}");
    }
}

/// Points along a curve.
fn trace(path: &Path) -> Vec<Point> {
    let mut at = path.start;
    let mut points = vec![at];
    let blend = |ps: &[Point], t: f64| {
        let mut ps = ps.to_vec();
        while ps.len() > 1 {
            ps = ps
                .windows(2)
                .map(|w| Point { x: w[0].x + (w[1].x - w[0].x) * t, y: w[0].y + (w[1].y - w[0].y) * t })
                .collect();
        }
        ps[0]
    };
    for step in &path.steps {
        let hull = match *step {
            Step::Line(p) => vec![at, p],
            Step::Quad(c, p) => vec![at, c, p],
            Step::Cubic(a, b, p) => vec![at, a, b, p],
        };
        points.extend((1..=24).map(|k| blend(&hull, f64::from(k) / 24.0)));
        at = step.end();
    }
    points
}

fn through(rect: &Rect, points: &[Point]) -> bool {
    let r = rect.grown(-1.5);
    points.iter().any(|p| r.x < p.x && p.x < r.right() && r.y < p.y && p.y < r.bottom())
}

/// All promises of the layout for graphs of a size people look at.
fn sound(picture: &Picture, direction: Direction) {
    let scene = Scene::new(picture);
    let d = drawing(&scene, Some(direction));
    let boxes: Vec<(usize, Rect)> =
        d.boxes.iter().enumerate().filter_map(|(n, r)| r.map(|r| (n, r))).collect();
    for (k, (n, a)) in boxes.iter().enumerate() {
        assert!(inside(&d.bounds, a), "box {n} is outside");
        for (m, b) in &boxes[k + 1..] {
            assert!(!a.overlaps(b), "boxes {n} and {m} overlap");
        }
        for (g, frame) in d.frames.iter().enumerate() {
            let mut level = scene.node_home[*n];
            let mut held = false;
            while level > 0 {
                held |= level == g + 1;
                level = scene.group_home[level - 1];
            }
            let room = Rect { y: frame.y + HEADER, h: frame.h - HEADER, ..*frame };
            assert!(if held { inside(&room, a) } else { !frame.overlaps(a) }, "box {n} and frame {g}");
        }
    }
    forward(&scene, &d);
    for (wire, ends) in d.wires.iter().zip(&scene.needs) {
        let points = trace(wire);
        for (n, rect) in &boxes {
            let own = [ends.0, ends.1].contains(&End::Node(*n));
            assert!(own || !through(rect, &points), "{ends:?} runs through box {n}");
        }
        for p in points {
            assert!(
                inside(&d.bounds, &Rect { x: p.x, y: p.y, w: 0.0, h: 0.0 }),
                "{ends:?} leaves the picture"
            );
        }
    }
    for back in &d.returns {
        let ends = &scene.returns[back.index];
        let points = trace(&back.path);
        for (n, rect) in &boxes {
            let own = [ends.closer, ends.from].contains(&End::Node(*n));
            assert!(own || !through(rect, &points), "the way back {ends:?} runs through box {n}");
        }
        assert!(inside(&d.bounds, &back.label));
    }
    for hull in &d.hulls {
        assert!(hull.parts.iter().all(|p| inside(&d.bounds, p)));
    }
}

/// Graphs without cycles, with groups that are runs of nodes, so that frames have no cycles either.
fn graphs() -> impl Strategy<Value = Picture> {
    let nodes = prop::collection::vec((0..9_usize, 0..4_u8, any::<bool>(), 0..3_u8), 1..28);
    let pairs = prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..50);
    let backs = prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..4);
    (nodes, pairs, backs, 2..9_usize).prop_map(|(looks, pairs, backs, every)| {
        let mut picture = Picture::default();
        for (i, (kind, tier, flag, join)) in looks.iter().enumerate() {
            let run = i / every;
            if run % 2 == 1 && i % every == 0 {
                let g = picture.groups.len();
                picture.groups.push(Group { id: format!("g{g}"), title: format!("group {g}"), parent: None });
                if every > 3 {
                    picture.groups.push(Group {
                        id: format!("i{g}"),
                        title: "inner".to_owned(),
                        parent: Some(g),
                    });
                }
            }
            let group = (run % 2 == 1).then(|| {
                let first = if every > 3 { 2 } else { 1 };
                picture.groups.len() - first + usize::from(every > 3 && i % every > every / 2)
            });
            picture.nodes.push(PictureNode {
                tier: Tier::ALL.get(usize::from(*tier)).copied(),
                each: *flag,
                conditional: i % 3 == 0,
                join: [Join::All, Join::Any, Join::Settled][usize::from(*join)],
                group,
                ..PictureNode::new(format!("n{i}"), format!("node {i}"), NodeKind::ALL[*kind])
            });
        }
        let count = looks.len();
        for (a, b) in pairs {
            let (a, b) = (a.index(count), b.index(count));
            if a < b {
                picture.edges.push(PictureEdge::needs(format!("n{a}"), format!("n{b}")));
            }
        }
        for (a, b) in backs {
            let (a, b) = (a.index(count), b.index(count));
            let (from, closer) = (format!("n{}", a.min(b)), format!("n{}", a.max(b)));
            picture.regions.push(Region { from, closer, rounds: Rounds::Local(3) });
        }
        picture
    })
}

/// A picture in which every string is the given one, in every place that takes one.
fn saying(text: &str) -> Picture {
    let mut picture = flaky();
    picture.title = format!("t{text}");
    picture.subtitle = Some(text.to_owned());
    for (i, node) in picture.nodes.iter_mut().enumerate() {
        node.id = format!("{i}{text}");
        node.label = text.to_owned();
        node.detail = Some(text.to_owned());
        node.badge = Some(text.to_owned());
        node.group = (i > 4).then_some(0);
    }
    picture.edges =
        (1..7).map(|i| PictureEdge::needs(format!("{}{text}", i - 1), format!("{i}{text}"))).collect();
    for region in &mut picture.regions {
        region.from = format!("1{text}");
        region.closer = format!("2{text}");
    }
    picture.groups = vec![Group { id: format!("g{text}"), title: text.to_owned(), parent: None }];
    picture
}

/// What is left of a text without its quoted strings, in which `escape` protects a quote.
fn skeleton(text: &str, escape: Option<char>) -> String {
    let (mut out, mut quoted) = (String::new(), false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            c if quoted && Some(c) == escape => {
                chars.next();
            }
            c if !quoted => out.push(c),
            _ => {}
        }
    }
    assert!(!quoted, "a quoted string has no end");
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gives_a_well_formed_svg(text in any::<String>()) {
        well_formed(&saying(&text));
    }

    #[test]
    fn text_made_of_markup_gives_a_well_formed_svg(text in "[<>&\"'\\]\\[!\\-\\x00-\\x1f#;{}%A\u{202e}\u{fffe}]{0,40}") {
        well_formed(&saying(&text));
    }

    #[test]
    fn no_text_changes_the_structure_of_dot(text in any::<String>(), marks in "[\\\\\"&;{}\\[\\]\n<>-]{0,20}") {
        let plain = skeleton(&dot(&saying("x")), Some('\\'));
        prop_assert_eq!(&skeleton(&dot(&saying(&text)), Some('\\')), &plain);
        prop_assert_eq!(&skeleton(&dot(&saying(&marks)), Some('\\')), &plain);
    }

    #[test]
    fn no_text_changes_the_structure_of_mermaid(text in any::<String>(), marks in "[\\\\\"#&;{}%`$\\[\\]\n<>-]{0,20}") {
        let plain = skeleton(&mermaid(&saying("x")), None);
        prop_assert_eq!(&skeleton(&mermaid(&saying(&text)), None), &plain);
        prop_assert_eq!(&skeleton(&mermaid(&saying(&marks)), None), &plain);
        prop_assert!(!mermaid(&saying(&marks)).contains("%%"));
    }

    #[test]
    fn the_layout_keeps_its_promises(picture in graphs()) {
        sound(&picture, Direction::Down);
        sound(&picture, Direction::Right);
    }
}

#[test]
#[ignore = "needs the `dot` program of Graphviz"]
fn graphviz_accepts_hostile_text() {
    for text in ["\\", "\\\"", "\"]; x -> y", "&lt;&amp;", "<b>x</b>", "end\\N\\G", "日本 🎉", ""] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, dot(&saying(text)).as_bytes()).unwrap();
        let done = std::process::Command::new("dot").arg("-Tsvg").arg(file.path()).output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{text}: {done:?}");
    }
}
