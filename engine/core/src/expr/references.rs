//! Finds the names a source mentions and refuses what the language leaves out.
//! A name that is not reported here is not visible to the evaluation either.

use std::ops::Range;

use minijinja::machinery::ast::{BinOpKind, Call, Filter, Test};
use minijinja::machinery::ast::{CallArg, CallType, Expr, ForLoop, IfCond, Spanned, Stmt, UnaryOpKind};

use super::error::{SyntaxError, SyntaxErrorKind};
use super::names::{FILTERS, FUNCTIONS, LOOP_METHODS, TESTS};

/// A dotted name the source takes from its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The name, outermost first: `nodes.fix.cause` is `["nodes", "fix", "cause"]`, and so is
    /// `nodes['fix'].cause`. It ends where the source computes the rest, as in `items[0].id`.
    pub path: Vec<String>,
    /// Where it stands, in bytes of the source.
    pub range: Range<usize>,
    /// The last part may be missing: it has a `default`, or the source asks `is defined` first.
    pub guarded: bool,
}

impl Reference {
    /// The name as it is written, such as `nodes.fix.cause`.
    pub fn dotted(&self) -> String {
        self.path.join(".")
    }
}

/// The references of an expression, in the order of the source.
pub(super) fn of_expression(expr: &Expr<'_>, source: &str) -> Result<Vec<Reference>, SyntaxError> {
    let mut walker = Walker::new(source);
    walker.expr(expr)?;
    Ok(walker.finish())
}

/// The references of a template, in the order of the source.
pub(super) fn of_template(template: &Stmt<'_>, source: &str) -> Result<Vec<Reference>, SyntaxError> {
    let mut walker = Walker::new(source);
    walker.stmt(template)?;
    Ok(walker.finish())
}

/// `expr` as a dotted name with its range, if it is one.
pub(super) fn as_path(expr: &Expr<'_>) -> Option<(Vec<String>, Range<usize>)> {
    let end = expr.span().end_offset as usize;
    let mut parts = Vec::new();
    let mut at = expr;
    loop {
        match at {
            Expr::Var(var) => {
                parts.push(var.id.to_owned());
                parts.reverse();
                return Some((parts, var.span().start_offset as usize..end));
            }
            Expr::GetAttr(attr) => {
                parts.push(attr.name.to_owned());
                at = &attr.expr;
            }
            Expr::GetItem(item) => {
                let Expr::Const(key) = &item.subscript_expr else { return None };
                parts.push(key.value.as_str()?.to_owned());
                at = &item.expr;
            }
            _ => return None,
        }
    }
}

struct Walker<'s> {
    source: &'s str,
    found: Vec<Reference>,
    /// Names the template itself gives a value, innermost scope last.
    scopes: Vec<Vec<String>>,
    /// Names known to be defined where the walk stands.
    assumed: Vec<Vec<String>>,
}

type Walk = Result<(), SyntaxError>;

impl<'s> Walker<'s> {
    fn new(source: &'s str) -> Self {
        Self { source, found: Vec::new(), scopes: vec![Vec::new()], assumed: Vec::new() }
    }

    fn finish(mut self) -> Vec<Reference> {
        self.found.sort_by_key(|reference| (reference.range.start, reference.range.end));
        self.found
    }

    fn is_own(&self, name: &str) -> bool {
        self.scopes.iter().flatten().any(|own| own == name)
    }

    fn error(&self, kind: SyntaxErrorKind, message: String, range: Range<usize>) -> SyntaxError {
        SyntaxError::new(kind, message, range).clamped_to(self.source)
    }

    fn unsupported(&self, what: &str, message: &str, range: Range<usize>) -> SyntaxError {
        self.error(SyntaxErrorKind::Unsupported(what.to_owned()), message.to_owned(), range)
    }

    fn assign(&mut self, target: &Expr<'_>) -> Walk {
        match target {
            Expr::Var(var) => {
                if let Some(scope) = self.scopes.last_mut() {
                    scope.push(var.id.to_owned());
                }
                Ok(())
            }
            Expr::List(list) => list.items.iter().try_for_each(|item| self.assign(item)),
            Expr::Tuple(tuple) => tuple.items.iter().try_for_each(|item| self.assign(item)),
            other => Err(self.unsupported(
                "set",
                "only a plain name can be given a value",
                range_of(other.span().start_offset, other.span().end_offset),
            )),
        }
    }

    fn body(&mut self, body: &[Stmt<'_>]) -> Walk {
        body.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    /// Walks `body` in a scope of its own, which starts with what `targets` assigns.
    fn scoped(&mut self, names: &[&str], target: Option<&Expr<'_>>, body: &[Stmt<'_>]) -> Walk {
        self.scopes.push(names.iter().map(|&name| name.to_owned()).collect());
        let walked = target.map_or(Ok(()), |target| self.assign(target)).and_then(|()| self.body(body));
        self.scopes.pop();
        walked
    }

    fn stmt(&mut self, stmt: &Stmt<'_>) -> Walk {
        match stmt {
            Stmt::Template(template) => self.body(&template.children),
            Stmt::EmitExpr(emit) => self.expr(&emit.expr),
            Stmt::EmitRaw(_) => Ok(()),
            Stmt::ForLoop(block) => self.for_loop(block),
            Stmt::IfCond(block) => self.if_block(block),
            Stmt::WithBlock(block) => {
                self.scopes.push(Vec::new());
                for (target, value) in &block.assignments {
                    self.expr(value)?;
                    self.assign(target)?;
                }
                self.body(&block.body)?;
                self.scopes.pop();
                Ok(())
            }
            Stmt::Set(set) => {
                self.expr(&set.expr)?;
                self.assign(&set.target)
            }
            Stmt::SetBlock(set) => {
                self.body(&set.body)?;
                if let Some(filter) = &set.filter {
                    self.expr(filter)?;
                }
                self.assign(&set.target)
            }
            Stmt::FilterBlock(block) => {
                self.body(&block.body)?;
                self.expr(&block.filter)
            }
            Stmt::AutoEscape(block) => Err(self.unsupported(
                "autoescape",
                "`{% autoescape %}` is not part of the template language",
                range_of(block.span().start_offset, block.span().end_offset),
            )),
            Stmt::Do(block) => Err(self.unsupported(
                "do",
                "`{% do %}` is not part of the template language",
                range_of(block.span().start_offset, block.span().end_offset),
            )),
        }
    }

    fn for_loop(&mut self, block: &Spanned<ForLoop<'_>>) -> Walk {
        if block.recursive {
            return Err(self.unsupported(
                "recursive",
                "recursive loops are not part of the template language",
                range_of(block.span().start_offset, block.span().end_offset),
            ));
        }
        self.expr(&block.iter)?;
        if let Some(filter) = &block.filter_expr {
            self.scopes.push(Vec::new());
            self.assign(&block.target)?;
            self.expr(filter)?;
            self.scopes.pop();
        }
        self.scoped(&["loop"], Some(&block.target), &block.body)?;
        self.scoped(&[], None, &block.else_body)
    }

    fn if_block(&mut self, block: &Spanned<IfCond<'_>>) -> Walk {
        self.expr(&block.expr)?;
        // A branch has no scope of its own: what it sets stays set after it.
        let known = self.assumed.len();
        defined_if_true(&block.expr, &mut self.assumed);
        self.body(&block.true_body)?;
        self.assumed.truncate(known);
        defined_if_false(&block.expr, &mut self.assumed);
        self.body(&block.false_body)?;
        self.assumed.truncate(known);
        Ok(())
    }

    fn exprs<'a, 'e: 'a>(&mut self, exprs: impl IntoIterator<Item = &'a Expr<'e>>) -> Walk {
        exprs.into_iter().try_for_each(|expr| self.expr(expr))
    }

    /// Walks `expr` knowing that everything `assume` names is defined.
    fn expr_assuming(&mut self, expr: &Expr<'_>, assume: impl FnOnce(&mut Vec<Vec<String>>)) -> Walk {
        let known = self.assumed.len();
        assume(&mut self.assumed);
        let walked = self.expr(expr);
        self.assumed.truncate(known);
        walked
    }

    fn expr(&mut self, expr: &Expr<'_>) -> Walk {
        if self.path(expr, false) {
            return Ok(());
        }
        match expr {
            Expr::Var(_) | Expr::Const(_) => Ok(()),
            Expr::Slice(slice) => {
                self.expr(&slice.expr)?;
                self.exprs([&slice.start, &slice.stop, &slice.step].into_iter().flatten())
            }
            Expr::UnaryOp(op) => self.expr(&op.expr),
            Expr::BinOp(op) => {
                if matches!(op.op, BinOpKind::Mul) && (may_fold_large(&op.left) || may_fold_large(&op.right))
                {
                    return Err(self.unsupported(
                        "*",
                        "`*` multiplies numbers, not text or lists",
                        range_of(op.span().start_offset, op.span().end_offset),
                    ));
                }
                self.expr(&op.left)?;
                self.expr_assuming(&op.right, |assumed| match op.op {
                    BinOpKind::ScAnd => defined_if_true(&op.left, assumed),
                    BinOpKind::ScOr => defined_if_false(&op.left, assumed),
                    _ => {}
                })
            }
            Expr::Compare(chain) => {
                self.expr(&chain.expr)?;
                self.exprs(chain.ops.iter().map(|op| &op.expr))
            }
            Expr::IfExpr(choice) => {
                self.expr(&choice.test_expr)?;
                self.expr_assuming(&choice.true_expr, |assumed| defined_if_true(&choice.test_expr, assumed))?;
                choice.false_expr.as_ref().map_or(Ok(()), |otherwise| {
                    self.expr_assuming(otherwise, |assumed| defined_if_false(&choice.test_expr, assumed))
                })
            }
            Expr::Filter(filter) => self.filter(filter),
            Expr::Test(test) => self.test(test),
            Expr::GetAttr(attr) => self.expr(&attr.expr),
            Expr::GetItem(item) => {
                self.expr(&item.expr)?;
                self.expr(&item.subscript_expr)
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.exprs(&list.items),
            Expr::Tuple(tuple) => self.exprs(&tuple.items),
            Expr::Map(map) => {
                self.exprs(&map.keys)?;
                self.exprs(&map.values)
            }
        }
    }

    /// Notes `expr` as a reference if it is a dotted name; says whether it was one.
    fn path(&mut self, expr: &Expr<'_>, guarded: bool) -> bool {
        let Some((path, range)) = as_path(expr) else { return false };
        if !self.is_own(&path[0]) {
            let guarded = guarded || self.assumed.iter().any(|known| known.starts_with(&path));
            self.found.push(Reference { path, range, guarded });
        }
        true
    }

    fn filter(&mut self, filter: &Spanned<Filter<'_>>) -> Walk {
        let range = name_range(filter.span().start_offset, filter.name);
        if !FILTERS.contains(&filter.name) {
            return Err(self.error(
                SyntaxErrorKind::UnknownFilter(filter.name.to_owned()),
                format!("unknown filter `{}`", filter.name),
                range,
            ));
        }
        if let Some(operand) = &filter.expr {
            let guarded = matches!(filter.name, "default" | "d");
            if !(guarded && self.path(operand, true)) {
                self.expr(operand)?;
            }
        }
        self.names_in_arguments(filter)?;
        self.args(&filter.args)
    }

    /// `map`, `select` and their kin name another filter or test in an argument.
    fn names_in_arguments(&self, filter: &Spanned<Filter<'_>>) -> Walk {
        let (index, known, is_filter) = match filter.name {
            "map" => (0, FILTERS, true),
            "select" | "reject" => (0, TESTS, false),
            "selectattr" | "rejectattr" => (1, TESTS, false),
            _ => return Ok(()),
        };
        let Some(CallArg::Pos(Expr::Const(name))) = filter.args.get(index) else { return Ok(()) };
        let span = name.span();
        match name.value.as_str() {
            Some(name) if !known.contains(&name) => {
                let (kind, what) = if is_filter {
                    (SyntaxErrorKind::UnknownFilter(name.to_owned()), "filter")
                } else {
                    (SyntaxErrorKind::UnknownTest(name.to_owned()), "test")
                };
                Err(self.error(
                    kind,
                    format!("unknown {what} `{name}`"),
                    range_of(span.start_offset, span.end_offset),
                ))
            }
            _ => Ok(()),
        }
    }

    fn test(&mut self, test: &Spanned<Test<'_>>) -> Walk {
        if !TESTS.contains(&test.name) {
            return Err(self.error(
                SyntaxErrorKind::UnknownTest(test.name.to_owned()),
                format!("unknown test `{}`", test.name),
                name_range(test.span().start_offset, test.name),
            ));
        }
        let guarded = matches!(test.name, "defined" | "undefined");
        if !(guarded && self.path(&test.expr, true)) {
            self.expr(&test.expr)?;
        }
        self.args(&test.args)
    }

    fn call(&mut self, call: &Spanned<Call<'_>>) -> Walk {
        let span = call.expr.span();
        let range = range_of(span.start_offset, span.end_offset);
        match call.identify_call() {
            CallType::Function(name) if FUNCTIONS.contains(&name) && !self.is_own(name) => {}
            CallType::Method(Expr::Var(var), name)
                if var.id == "loop" && self.is_own("loop") && LOOP_METHODS.contains(&name) => {}
            CallType::Function(name) => {
                return Err(self.error(
                    SyntaxErrorKind::UnknownFunction(name.to_owned()),
                    format!("unknown function `{name}`"),
                    range,
                ));
            }
            CallType::Method(_, name) => {
                return Err(self.error(
                    SyntaxErrorKind::UnknownFunction(name.to_owned()),
                    format!("values have no methods such as `{name}`: use a filter, as in `value | upper`"),
                    range,
                ));
            }
            CallType::Object(_) => {
                return Err(self.error(
                    SyntaxErrorKind::UnknownFunction(String::new()),
                    "only a named function can be called".to_owned(),
                    range,
                ));
            }
        }
        self.args(&call.args)
    }

    fn args(&mut self, args: &[CallArg<'_>]) -> Walk {
        for arg in args {
            match arg {
                CallArg::Pos(expr) | CallArg::Kwarg(_, expr) => self.expr(expr)?,
                CallArg::PosSplat(expr) | CallArg::KwargSplat(expr) => {
                    let span = expr.span();
                    return Err(self.unsupported(
                        "*",
                        "arguments are written one by one, `*` and `**` do not spread a list",
                        range_of(span.start_offset, span.end_offset),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Collects the names that must be defined wherever `test` is true.
fn defined_if_true(test: &Expr<'_>, into: &mut Vec<Vec<String>>) {
    match test {
        Expr::Test(test) if test.name == "defined" => into.extend(as_path(&test.expr).map(|(path, _)| path)),
        Expr::UnaryOp(op) if matches!(op.op, UnaryOpKind::Not) => defined_if_false(&op.expr, into),
        Expr::BinOp(op) if matches!(op.op, BinOpKind::ScAnd) => {
            defined_if_true(&op.left, into);
            defined_if_true(&op.right, into);
        }
        _ => {}
    }
}

/// Collects the names that must be defined wherever `test` is false.
fn defined_if_false(test: &Expr<'_>, into: &mut Vec<Vec<String>>) {
    match test {
        Expr::Test(test) if test.name == "undefined" => {
            into.extend(as_path(&test.expr).map(|(path, _)| path));
        }
        Expr::UnaryOp(op) if matches!(op.op, UnaryOpKind::Not) => defined_if_true(&op.expr, into),
        Expr::BinOp(op) if matches!(op.op, BinOpKind::ScOr) => {
            defined_if_false(&op.left, into);
            defined_if_false(&op.right, into);
        }
        _ => {}
    }
}

/// Whether the compiler could fold `expr` into a constant text or list. Multiplying one of those
/// would happen while parsing, before any budget exists.
fn may_fold_large(expr: &Expr<'_>) -> bool {
    match expr {
        Expr::Const(constant) => !constant.value.is_number(),
        Expr::List(_) | Expr::Tuple(_) => true,
        Expr::BinOp(op) => match op.op {
            BinOpKind::Concat => true,
            BinOpKind::Add | BinOpKind::Mul | BinOpKind::ScAnd | BinOpKind::ScOr => {
                may_fold_large(&op.left) || may_fold_large(&op.right)
            }
            _ => false,
        },
        _ => false,
    }
}

fn range_of(start: u32, end: u32) -> Range<usize> {
    start as usize..end as usize
}

fn name_range(start: u32, name: &str) -> Range<usize> {
    start as usize..start as usize + name.len()
}
