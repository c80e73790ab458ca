//! Points, boxes and curves, and the switch between "along the flow" and the page.
//! The layout thinks in `cross` and `along`; only this file knows which of them is x.

/// Which way a picture reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Top to bottom.
    Down,
    /// Left to right.
    Right,
}

impl Direction {
    /// The point of the page at the given place of the layout.
    pub(super) fn point(self, cross: f64, along: f64) -> Point {
        match self {
            Self::Down => Point { x: cross, y: along },
            Self::Right => Point { x: along, y: cross },
        }
    }

    /// The box of the page with the given corner and extents.
    pub(super) fn rect(self, corner: (f64, f64), extent: (f64, f64)) -> Rect {
        let (at, size) = (self.point(corner.0, corner.1), self.point(extent.0, extent.1));
        Rect { x: at.x, y: at.y, w: size.x, h: size.y }
    }

    /// `(cross, along)` of a width and a height.
    pub(super) fn turn(self, w: f64, h: f64) -> (f64, f64) {
        match self {
            Self::Down => (w, h),
            Self::Right => (h, w),
        }
    }
}

/// A place on the page, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// An upright box on the page, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

impl Rect {
    pub(super) fn right(&self) -> f64 {
        self.x + self.w
    }

    pub(super) fn bottom(&self) -> f64 {
        self.y + self.h
    }

    pub(super) fn grown(&self, by: f64) -> Self {
        Self { x: self.x - by, y: self.y - by, w: self.w + 2.0 * by, h: self.h + 2.0 * by }
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }

    /// The smallest box around both.
    pub(super) fn around(&self, other: &Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        Self { x, y, w: self.right().max(other.right()) - x, h: self.bottom().max(other.bottom()) - y }
    }
}

/// One piece of a curve, by where it ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Line(Point),
    Cubic(Point, Point, Point),
    Quad(Point, Point),
}

impl Step {
    /// Where the piece ends.
    pub(super) fn end(&self) -> Point {
        match *self {
            Self::Line(p) | Self::Quad(_, p) | Self::Cubic(_, _, p) => p,
        }
    }
}

/// A curve on the page.
#[derive(Clone, Debug)]
pub(super) struct Path {
    pub(super) start: Point,
    pub(super) steps: Vec<Step>,
}

/// Builds a curve from places of the layout.
#[derive(Debug)]
pub(super) struct Pen {
    direction: Direction,
    at: (f64, f64),
    path: Path,
}

impl Pen {
    pub(super) fn new(direction: Direction, cross: f64, along: f64) -> Self {
        let start = direction.point(cross, along);
        Self { direction, at: (cross, along), path: Path { start, steps: Vec::new() } }
    }

    pub(super) fn line(&mut self, cross: f64, along: f64) {
        if (self.at.0 - cross).abs() + (self.at.1 - along).abs() > 0.05 {
            self.path.steps.push(Step::Line(self.direction.point(cross, along)));
            self.at = (cross, along);
        }
    }

    /// A curve that leaves and arrives along the flow, and stays between the two places.
    pub(super) fn sway(&mut self, cross: f64, along: f64) {
        if (self.at.0 - cross).abs() < 0.05 {
            self.line(cross, along);
            return;
        }
        let half = (along - self.at.1) * 0.55;
        let d = self.direction;
        self.path.steps.push(Step::Cubic(
            d.point(self.at.0, self.at.1 + half),
            d.point(cross, along - half),
            d.point(cross, along),
        ));
        self.at = (cross, along);
    }

    /// A rounded corner at `corner`, ending at the given place.
    pub(super) fn bend(&mut self, corner: (f64, f64), cross: f64, along: f64) {
        let d = self.direction;
        self.path.steps.push(Step::Quad(d.point(corner.0, corner.1), d.point(cross, along)));
        self.at = (cross, along);
    }

    pub(super) fn finish(self) -> Path {
        self.path
    }
}
