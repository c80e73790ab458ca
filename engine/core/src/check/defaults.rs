//! What a file gives to all its nodes. Secrets are better given to those that need them.

use super::compiler::{Compiler, Unit};
use crate::expr::Expr;
use crate::finding::{Code, Finding};
use crate::format::{InputType, Scalar};
use crate::graph::InputSpec;
use crate::source::Span;

impl Compiler<'_> {
    /// Secrets in the environment of every command, of which there is more than one.
    pub(super) fn shared_secrets(&mut self, unit: &Unit, inputs: &[InputSpec]) {
        let commands = unit.nodes.iter().filter(|node| node.table.run.is_some()).count();
        for (name, value) in &unit.document.defaults.env {
            let Scalar::Expression(text) = &value.value else { continue };
            let Ok(expr) = Expr::parse(text) else { continue };
            let secret = expr.references().iter().find_map(|reference| match reference.path.as_slice() {
                [first, input] if first == "inputs" => {
                    inputs.iter().find(|spec| *spec.name == **input && spec.ty == InputType::Secret)
                }
                _ => None,
            });
            if let (Some(secret), 2..) = (secret, commands) {
                self.findings.push(
                    Finding::new(
                        Code::SharedSecret,
                        Span::new(&unit.file, value.range.clone()),
                        format!("every command has the secret `{}` as `{}`", secret.name, name.value),
                    )
                    .label(format!("{commands} commands"))
                    .fix(format!(
                        "give it to the nodes that need it: `env = {{ {} = \"inputs.{}\" }}`",
                        name.value, secret.name
                    )),
                );
            }
        }
    }
}
