//! The filters and operators that differ from the template engine's own: they are charged before
//! they build anything larger than what they were given.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State, filters};

use super::budget::{charge, charge_value};
use super::json;
use super::limits;

/// Names of the operators in compiled programs. No source can spell them as a filter.
pub(super) const CHARGED_ADD: &str = "+";
pub(super) const CHARGED_MUL: &str = "*";
pub(super) const CHARGED_CONCAT: &str = "~";
pub(super) const BUILD_LIST: &str = "[]";
pub(super) const BUILD_MAP: &str = "{}";

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn defined(value: &Value) -> Result<&Value, Error> {
    if value.is_undefined() {
        // Only the engine can make an error that remembers which name was undefined.
        value.get_attr("")?;
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    Ok(value)
}

/// `left + right` for numbers, texts and lists.
pub(super) fn add(state: &mut State<'_, '_>, left: &Value, right: &Value) -> Result<Value, Error> {
    let (left, right) = (defined(left)?, defined(right)?);
    if left.is_number() && right.is_number() {
        return arithmetic(left, right, i128::checked_add, |a, b| a + b);
    }
    if let (Some(a), Some(b)) = (left.as_str(), right.as_str()) {
        charge(state, a.len() + b.len())?;
        return Ok(Value::from(format!("{a}{b}")));
    }
    let is_list = |value: &Value| matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
    if is_list(left) && is_list(right) {
        charge_value(state, left)?;
        charge_value(state, right)?;
        return Ok(Value::from(left.try_iter()?.chain(right.try_iter()?).collect::<Vec<_>>()));
    }
    Err(wrong(format!("cannot add {} and {}", left.kind(), right.kind())))
}

/// `left * right` for numbers.
pub(super) fn multiply(left: &Value, right: &Value) -> Result<Value, Error> {
    let (left, right) = (defined(left)?, defined(right)?);
    if left.is_number() && right.is_number() {
        return arithmetic(left, right, i128::checked_mul, |a, b| a * b);
    }
    Err(wrong(format!("cannot multiply {} and {}", left.kind(), right.kind())))
}

fn arithmetic(
    left: &Value,
    right: &Value,
    exact: fn(i128, i128) -> Option<i128>,
    float: fn(f64, f64) -> f64,
) -> Result<Value, Error> {
    if left.is_integer() && right.is_integer() {
        let (a, b) = (i128::try_from(left.clone())?, i128::try_from(right.clone())?);
        return exact(a, b).map(shrunk).ok_or_else(|| wrong("the result is too large a number"));
    }
    Ok(Value::from(float(f64::try_from(left.clone())?, f64::try_from(right.clone())?)))
}

/// Integers have one representation each, however they came about.
fn shrunk(number: i128) -> Value {
    i64::try_from(number).map_or_else(|_| Value::from(number), Value::from)
}

/// `left ~ right`: both as text, one after the other.
pub(super) fn concat(state: &mut State<'_, '_>, left: &Value, right: &Value) -> Result<Value, Error> {
    let (left, right) = (defined(left)?, defined(right)?);
    charge_value(state, left)?;
    charge_value(state, right)?;
    Ok(Value::from(format!("{left}{right}")))
}

/// `[a, b]`, and `(a, b)` too: JSON has one kind of list.
pub(super) fn build_list(state: &mut State<'_, '_>, items: Rest<Value>) -> Result<Value, Error> {
    for item in items.iter() {
        defined(item)?;
    }
    let list = Value::from(items.0);
    charge_value(state, &list)?;
    Ok(list)
}

/// `{key: value}`.
pub(super) fn build_map(state: &mut State<'_, '_>, parts: Rest<Value>) -> Result<Value, Error> {
    for part in parts.iter() {
        defined(part)?;
    }
    let mut parts = parts.0.into_iter();
    let mut pairs = Vec::with_capacity(parts.len() / 2);
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        pairs.push((key, value));
    }
    let map = Value::from_pairs(pairs);
    charge_value(state, &map)?;
    Ok(map)
}

/// `dict(key=value)`.
#[expect(clippy::needless_pass_by_value, reason = "the engine passes named arguments by value")]
pub(super) fn dict(state: &mut State<'_, '_>, fields: Kwargs) -> Result<Value, Error> {
    let mut pairs = Vec::new();
    for name in fields.args() {
        pairs.push((name.to_owned(), fields.get::<Value>(name)?));
    }
    let map = Value::from_pairs(pairs);
    charge_value(state, &map)?;
    Ok(map)
}

/// `range(stop)`, `range(start, stop)` or `range(start, stop, step)`, never more than a bound.
pub(super) fn range(
    state: &mut State<'_, '_>,
    first: i64,
    second: Option<i64>,
    step: Option<i64>,
) -> Result<Value, Error> {
    let (start, stop) = second.map_or((0, first), |stop| (first, stop));
    let step = step.unwrap_or(1);
    let distance = i128::from(stop) - i128::from(start);
    if step == 0 {
        return Err(wrong("`range` needs a step other than 0"));
    }
    let step = i128::from(step);
    let count = if (distance > 0) == (step > 0) { (distance.abs() + step.abs() - 1) / step.abs() } else { 0 };
    if count > i128::from(limits::RANGE_ITEMS) {
        return Err(wrong(format!("`range` has more than {} items", limits::RANGE_ITEMS)));
    }
    charge(state, count as usize)?;
    Ok((0..count).map(|index| (i128::from(start) + index * step) as i64).collect::<Value>())
}

/// `text | replace(from, to)`.
pub(super) fn replace(state: &mut State<'_, '_>, text: &str, from: &str, to: &str) -> Result<String, Error> {
    let times = if from.is_empty() { text.chars().count() + 1 } else { text.matches(from).count() };
    charge(state, text.len().saturating_add(times.saturating_mul(to.len())))?;
    Ok(text.replace(from, to))
}

/// `list | join(between)`.
pub(super) fn join(state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = args.into_values();
    if let (Some(list), Some(between)) = (args.first(), args.get(1)) {
        let between = between.as_str().map_or(1, str::len);
        let items = list.len().unwrap_or(0);
        charge(state, between.saturating_mul(items))?;
    }
    if let Some(list) = args.first() {
        charge_value(state, list)?;
    }
    Value::from_function(filters::join).call(state, &args)
}

/// `text | indent(width, first, blank)`.
pub(super) fn indent(state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    const DEFAULT: usize = 4;
    let args = args.into_values();
    let named = args.last().filter(|last| last.is_kwargs()).and_then(|named| named.get_attr("width").ok());
    let given = args.get(1).and_then(Value::as_usize);
    let width = given.or(named.and_then(|width| width.as_usize())).unwrap_or(DEFAULT);
    if width > limits::INDENT {
        return Err(wrong(format!("`indent` is wider than {} spaces", limits::INDENT)));
    }
    if let Some(text) = args.first().and_then(Value::as_str) {
        charge(state, text.len() + text.lines().count() * width)?;
    }
    Value::from_function(filters::indent).call(state, &args)
}

/// `value | tojson` on one line, `value | tojson(indent=2)` on several.
#[expect(clippy::needless_pass_by_value, reason = "the engine passes named arguments by value")]
pub(super) fn tojson(
    state: &mut State<'_, '_>,
    value: &Value,
    indent: Option<usize>,
    options: Kwargs,
) -> Result<String, Error> {
    let indent = indent.or(options.get("indent")?).unwrap_or(0);
    options.assert_all_used()?;
    if indent > limits::INDENT {
        return Err(wrong(format!("`tojson` is indented by more than {} spaces", limits::INDENT)));
    }
    charge_value(state, defined(value)?)?;
    let json = json::to_json(value, 0).map_err(|error| wrong(error.to_string()))?;
    let mut written = Vec::new();
    let pad = vec![b' '; indent];
    let done = if indent == 0 {
        serde_json::to_writer(&mut written, &json)
    } else {
        let formatter = serde_json::ser::PrettyFormatter::with_indent(&pad);
        let mut serializer = serde_json::Serializer::with_formatter(&mut written, formatter);
        serde::Serialize::serialize(&json, &mut serializer)
    };
    done.map_err(|error| wrong(error.to_string()))?;
    charge(state, written.len())?;
    String::from_utf8(written).map_err(|error| wrong(error.to_string()))
}
