//! Compiles a checked source for one evaluation. Instructions that could build something large in
//! a single step are replaced by charged ones, so the budget holds for every operator.

use minijinja::Value;
use minijinja::machinery::{CodeGenerator, Instruction, Instructions, ast};

use super::filters::{BUILD_LIST, BUILD_MAP, CHARGED_ADD, CHARGED_CONCAT, CHARGED_MUL};

/// Name of every program in engine errors; never shown.
const NAME: &str = "expression";

/// No slot in the engine's cache of resolved filters: our names are looked up each time.
const UNCACHED: u8 = !0;

/// Compiles an expression.
pub(super) fn of_expression<'s>(expr: &ast::Expr<'s>, source: &'s str) -> Instructions<'s> {
    let mut generator = CodeGenerator::new(NAME, source);
    generator.compile_expr(expr);
    charged(&generator.finish().0)
}

/// Compiles a template.
pub(super) fn of_template<'s>(template: &ast::Stmt<'s>, source: &'s str) -> Instructions<'s> {
    let mut generator = CodeGenerator::new(NAME, source);
    generator.compile_stmt(template);
    charged(&generator.finish().0)
}

fn charged<'s>(program: &Instructions<'s>) -> Instructions<'s> {
    // Literal text becomes a constant that is emitted, two instructions instead of one, because
    // only emitted values pass the formatter that counts output. Jumps move accordingly.
    let mut moved = Vec::new();
    let mut next = 0;
    while let Some(instruction) = program.get(moved.len() as u32) {
        moved.push(next);
        next += if matches!(instruction, Instruction::EmitRaw(_)) { 2 } else { 1 };
    }
    let target = |old: u32| moved.get(old as usize).copied().unwrap_or(next);

    let mut result = Instructions::new(program.name(), program.source());
    for at in 0..moved.len() as u32 {
        let Some(instruction) = program.get(at) else { break };
        let replacement = match instruction {
            Instruction::EmitRaw(text) => {
                add(&mut result, program, at, Instruction::LoadConst(Value::from(*text)));
                Instruction::Emit
            }
            Instruction::Add => filter(CHARGED_ADD, 2),
            Instruction::Mul => filter(CHARGED_MUL, 2),
            Instruction::StringConcat => filter(CHARGED_CONCAT, 2),
            Instruction::BuildList(Some(items)) | Instruction::BuildTuple(Some(items)) if *items > 0 => {
                filter(BUILD_LIST, *items as u16)
            }
            Instruction::BuildMap(pairs) if *pairs > 0 => filter(BUILD_MAP, *pairs as u16 * 2),
            Instruction::Jump(old) => Instruction::Jump(target(*old)),
            Instruction::JumpIfFalse(old) => Instruction::JumpIfFalse(target(*old)),
            Instruction::JumpIfFalseOrPop(old) => Instruction::JumpIfFalseOrPop(target(*old)),
            Instruction::JumpIfTrueOrPop(old) => Instruction::JumpIfTrueOrPop(target(*old)),
            Instruction::Iterate(old) => Instruction::Iterate(target(*old)),
            other => other.clone(),
        };
        add(&mut result, program, at, replacement);
    }
    result
}

fn filter(name: &'static str, args: u16) -> Instruction<'static> {
    Instruction::ApplyFilter(name, Some(args), UNCACHED)
}

fn add<'s>(into: &mut Instructions<'s>, from: &Instructions<'s>, at: u32, instruction: Instruction<'s>) {
    match from.get_span(at) {
        Some(span) => into.add_with_span(instruction, span),
        None => into.add(instruction),
    };
}
