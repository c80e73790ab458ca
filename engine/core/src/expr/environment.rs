//! The template engine, set up once: strict, without escaping, with our names only and every
//! filter charged for what it returns. Holds no state between evaluations.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::OnceLock;

use minijinja::functions::Function;
use minijinja::machinery::{Instructions, eval, make_string_output};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{FunctionArgs, FunctionResult, Rest, Value, ValueOrKwargs};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, filters, tests};

use super::budget::{self, Exhausted};
use super::error::EvalError;
use super::filters as own;
use super::limits;
use super::references::Reference;

/// The grammar of both kinds of source. A prompt keeps the newline it ends with.
pub(super) fn syntax() -> SyntaxConfig {
    static SYNTAX: OnceLock<SyntaxConfig> = OnceLock::new();
    SYNTAX
        .get_or_init(|| {
            SyntaxConfig::builder()
                .keep_trailing_newline(true)
                .build()
                .unwrap_or_else(|_| SyntaxConfig::default())
        })
        .clone()
}

/// Runs `program` in `scope`; gives the value on its stack, if any, and the text it emitted.
pub(super) fn run(
    program: &Instructions<'_>,
    scope: Value,
    references: &[Reference],
) -> Result<(Option<Value>, String), EvalError> {
    let mut text = String::new();
    let blocks = std::collections::BTreeMap::new();
    let value = {
        let mut output = make_string_output(&mut text);
        eval(environment(), program, scope, &blocks, &mut output, AutoEscape::None)
            .map(|(value, _)| value)
            .map_err(|error| explain(&error, references))?
    };
    Ok((value, text))
}

fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(build)
}

fn build() -> Environment<'static> {
    let mut env = Environment::empty();
    // The engine traces undefined values back to their names only in this mode, and its default
    // depends on how the binary was built.
    env.set_debug(true);
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_fuel(Some(limits::FUEL));
    env.set_formatter(|output, state, value| {
        if value.is_undefined() {
            // An `if` without `else` has a silent undefined value; the engine knows the difference.
            return minijinja::escape_formatter(output, state, value);
        }
        if let Some(text) = value.as_str() {
            budget::charge_output(state, text.len())?;
            return output.write_str(text).map_err(Error::from);
        }
        budget::charge_value(state, value)?;
        let mut text = String::new();
        write!(text, "{value}")?;
        budget::charge_output(state, text.len())?;
        output.write_str(&text).map_err(Error::from)
    });
    add_filters(&mut env);
    add_tests(&mut env);
    env.add_function("dict", own::dict);
    env.add_function("range", own::range);
    env
}

fn add_filters(env: &mut Environment<'static>) {
    env.add_filter(own::CHARGED_ADD, own::add);
    env.add_filter(own::CHARGED_MUL, own::multiply);
    env.add_filter(own::CHARGED_CONCAT, own::concat);
    env.add_filter(own::BUILD_LIST, own::build_list);
    env.add_filter(own::BUILD_MAP, own::build_map);
    env.add_filter("replace", own::replace);
    env.add_filter("join", own::join);
    env.add_filter("indent", own::indent);
    env.add_filter("tojson", own::tojson);
    charged(env, &["abs"], filters::abs);
    charged(env, &["attr"], filters::attr);
    charged(env, &["bool"], filters::bool);
    charged(env, &["capitalize"], filters::capitalize);
    charged(env, &["count", "length"], filters::length);
    charged(env, &["d", "default"], filters::default);
    charged(env, &["dictsort"], filters::dictsort);
    charged(env, &["first"], filters::first);
    charged(env, &["float"], filters::float);
    charged(env, &["groupby"], filters::groupby);
    charged(env, &["int"], filters::int);
    charged(env, &["items"], filters::items);
    charged(env, &["last"], filters::last);
    charged(env, &["lines"], filters::lines);
    charged(env, &["list"], filters::list);
    charged(env, &["lower"], filters::lower);
    charged(env, &["map"], filters::map);
    charged(env, &["max"], filters::max);
    charged(env, &["min"], filters::min);
    charged(env, &["reject"], filters::reject);
    charged(env, &["rejectattr"], filters::rejectattr);
    charged(env, &["reverse"], filters::reverse);
    charged(env, &["round"], filters::round);
    charged(env, &["select"], filters::select);
    charged(env, &["selectattr"], filters::selectattr);
    charged(env, &["sort"], filters::sort);
    charged(env, &["split"], filters::split);
    charged(env, &["string"], filters::string);
    charged(env, &["sum"], filters::sum);
    charged(env, &["title"], filters::title);
    charged(env, &["trim"], filters::trim);
    charged(env, &["unique"], filters::unique);
    charged(env, &["upper"], filters::upper);
    charged(env, &["urlencode"], filters::urlencode);
}

/// Adds one of the engine's filters under `names`, charged for its result.
fn charged<F, Rv, Args>(env: &mut Environment<'static>, names: &[&'static str], filter: F)
where
    F: Function<Rv, Args>,
    Rv: FunctionResult,
    Args: for<'a> FunctionArgs<'a>,
{
    let filter = Value::from_function(filter);
    for &name in names {
        let filter = filter.clone();
        env.add_filter(name, move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
            let result = filter.call(state, &args.into_values())?;
            budget::charge_value(state, &result)?;
            Ok::<Value, Error>(result)
        });
    }
}

fn add_tests(env: &mut Environment<'static>) {
    env.add_test("boolean", tests::is_boolean);
    env.add_test("defined", tests::is_defined);
    env.add_test("divisibleby", tests::is_divisibleby);
    env.add_test("endingwith", tests::is_endingwith);
    env.add_test("eq", tests::is_eq);
    env.add_test("even", tests::is_even);
    env.add_test("false", tests::is_false);
    env.add_test("float", tests::is_float);
    env.add_test("ge", tests::is_ge);
    env.add_test("gt", tests::is_gt);
    env.add_test("in", tests::is_in);
    env.add_test("integer", tests::is_integer);
    env.add_test("iterable", tests::is_iterable);
    env.add_test("le", tests::is_le);
    env.add_test("lower", tests::is_lower);
    env.add_test("lt", tests::is_lt);
    env.add_test("mapping", tests::is_mapping);
    env.add_test("ne", tests::is_ne);
    env.add_test("none", tests::is_none);
    env.add_test("number", tests::is_number);
    env.add_test("odd", tests::is_odd);
    env.add_test("sequence", tests::is_sequence);
    env.add_test("startingwith", tests::is_startingwith);
    env.add_test("string", tests::is_string);
    env.add_test("true", tests::is_true);
    env.add_test("undefined", tests::is_undefined);
    env.add_test("upper", tests::is_upper);
}

/// Turns an error of the engine into ours.
fn explain(error: &Error, references: &[Reference]) -> EvalError {
    let range = error.range();
    if let Some(exhausted) =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<Exhausted>())
    {
        return exhausted.into_eval_error();
    }
    match error.kind() {
        ErrorKind::OutOfFuel => EvalError::OutOfFuel,
        ErrorKind::UndefinedError => undefined(error, range, references),
        _ => {
            let message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            EvalError::Type { message, range }
        }
    }
}

/// Names what is undefined. The engine describes it in words; the references say where it is.
fn undefined(error: &Error, range: Option<Range<usize>>, references: &[Reference]) -> EvalError {
    let described = error.detail().and_then(|detail| detail.split('`').nth(1)).map(str::to_owned);
    let same = |reference: &&Reference| {
        described.as_ref().is_none_or(|path| {
            let dotted = reference.dotted();
            dotted.starts_with(path.as_str()) || path.starts_with(dotted.as_str())
        })
    };
    let inside = |reference: &&Reference| {
        range
            .as_ref()
            .is_some_and(|range| reference.range.start < range.end && range.start < reference.range.end)
    };
    // The engine places the error of a filter at its name, which follows what it was applied to.
    let before = |reference: &&Reference| {
        described.is_some() && range.as_ref().is_some_and(|range| reference.range.end <= range.start)
    };
    let named =
        references.iter().filter(same).find(inside).or_else(|| references.iter().filter(same).rfind(before));
    let path = described.or_else(|| named.map(Reference::dotted)).unwrap_or_else(|| "a value".to_owned());
    EvalError::Undefined { path, range: named.map(|reference| reference.range.clone()).or(range) }
}
