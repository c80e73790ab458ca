//! What an agent node did so far, as far as the run must know it: its steps for the next process, and what it spent.
//! Money and tokens are reserved before they are spent and settled after; what was reserved and never settled counts
//! as spent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::Payload;
use super::state::{Inst, State};

/// What is spent, or may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    /// Money in millionths of a US dollar; `None` if a price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
    /// Tokens, in and out.
    pub tokens: u64,
}

/// A step of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStep {
    /// The turn, from 1.
    pub turn: u32,
    /// What was done.
    #[serde(flatten)]
    pub did: Did,
    /// The step in full, for the session and for people.
    pub detail: Payload,
}

/// What a session did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Did {
    /// It is about to call a model, which may cost this much.
    CallModel {
        /// Which model.
        model: String,
        /// The most it can cost.
        reserve: Spend,
    },
    /// The model answered or failed, and this is what it cost.
    HearModel {
        /// Which model.
        model: String,
        /// Where the answer comes from: `provider`, `scripted` or `recorded`.
        origin: String,
        /// What it cost.
        spent: Spend,
        /// Whether there is an answer.
        ok: bool,
    },
    /// It is about to ask a model on behalf of a hook, which may cost this much.
    CallHook {
        /// The name of the hook.
        hook: String,
        /// Which model.
        model: String,
        /// The most it can cost.
        reserve: Spend,
    },
    /// The model of the hook answered or failed, and this is what it cost.
    HearHook {
        /// The name of the hook.
        hook: String,
        /// Which model.
        model: String,
        /// Where the answer comes from.
        origin: String,
        /// What it cost.
        spent: Spend,
        /// Whether there is an answer.
        ok: bool,
    },
    /// It is about to call a tool.
    CallTool {
        /// Which.
        tool: String,
        /// What it may do at worst.
        effect: String,
    },
    /// The tool returned.
    HearTool {
        /// Which.
        tool: String,
        /// Whether it did its work.
        ok: bool,
        /// The commit of the workspace after it, if it changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tree: Option<String>,
    },
    /// It told the model something, or shortened the conversation.
    Note,
}

/// What is on record of the session of one node, over all processes that drove it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Session {
    /// Every step, in full.
    pub steps: Vec<Payload>,
    /// Turns that were answered.
    pub turns: u32,
    /// Calls of tools.
    pub tool_calls: u64,
    /// What was spent.
    pub spent: Spend,
    /// The workspace after the last tool that changed it.
    pub tree: Option<Arc<str>>,
    /// Where the answers come from, as far as they do not come from a provider.
    pub origin: Option<String>,
    /// Reserved for the call that is going on.
    pub(super) open: Option<Spend>,
}

/// What all sessions of a run spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// Money in millionths of a US dollar, as far as prices are known.
    pub cost_micros: u64,
    /// Calls whose price is not known.
    pub unpriced_calls: u64,
    /// Tokens, in and out.
    pub tokens: u64,
    /// Calls of models that were answered.
    pub model_calls: u64,
    /// Of these, calls that a script or a recording answered.
    pub unreal_calls: u64,
    /// Calls of tools.
    pub tool_calls: u64,
}

/// A budget that does not allow a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Overrun {
    /// The price of a model is not known, and money is limited.
    #[error("the price of `{0}` is not known, and the blueprint limits the money of a run (`cost_usd`)")]
    Unpriced(String),
    /// Money.
    #[error("the money of the run is used up: ${} of ${} are spent or reserved, and this call may cost ${}", usd(*.used), usd(*.limit), usd(*.wanted))]
    Cost {
        /// Spent and reserved, in millionths of a US dollar.
        used: u64,
        /// The limit.
        limit: u64,
        /// What the step may cost.
        wanted: u64,
    },
    /// Tokens.
    #[error(
        "the tokens of the run are used up: {used} of {limit} are spent or reserved, and this call may use {wanted}"
    )]
    Tokens {
        /// Spent and reserved.
        used: u64,
        /// The limit.
        limit: u64,
        /// What the step may use.
        wanted: u64,
    },
    /// Calls of tools.
    #[error("the tool calls of the run are used up: {limit}")]
    ToolCalls {
        /// The limit.
        limit: u64,
    },
}

/// Millionths of a US dollar as dollars with at least two decimals.
pub fn usd(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let cut = text.trim_end_matches('0').len().max(text.len() - 4);
    text[..cut].to_owned()
}

impl State {
    /// What all sessions spent so far.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// Whether the budget allows a step that announces something. Asked before the step becomes a fact.
    pub fn allows(&self, step: &SessionStep) -> Result<(), Overrun> {
        let budget = &self.program.budget;
        match &step.did {
            Did::CallModel { model, reserve } | Did::CallHook { model, reserve, .. } => {
                if let Some(limit) = budget.cost_micros {
                    let wanted = reserve.cost_micros.ok_or_else(|| Overrun::Unpriced(model.clone()))?;
                    if self.spent.unpriced_calls > 0 {
                        return Err(Overrun::Unpriced(model.clone()));
                    }
                    let used = self.spent.cost_micros.saturating_add(self.reserved.cost_micros.unwrap_or(0));
                    if used.saturating_add(wanted) > limit {
                        return Err(Overrun::Cost { used, limit, wanted });
                    }
                }
                if let Some(limit) = budget.tokens {
                    let used = self.spent.tokens.saturating_add(self.reserved.tokens);
                    if used.saturating_add(reserve.tokens) > limit {
                        return Err(Overrun::Tokens { used, limit, wanted: reserve.tokens });
                    }
                }
            }
            Did::CallTool { .. } => {
                if let Some(limit) = budget.tool_calls.filter(|limit| self.spent.tool_calls >= *limit) {
                    return Err(Overrun::ToolCalls { limit });
                }
            }
            Did::HearModel { .. } | Did::HearHook { .. } | Did::HearTool { .. } | Did::Note => {}
        }
        Ok(())
    }

    pub(super) fn session_advanced(&mut self, inst: Inst, step: &SessionStep) {
        if matches!(step.did, Did::CallModel { .. } | Did::CallHook { .. }) {
            // One call goes on at a time: nobody will hear the end of the one before.
            self.settle_session(inst);
        }
        let session = self.instance_mut(inst).session.get_or_insert_default();
        session.steps.push(step.detail.clone());
        match &step.did {
            Did::CallModel { reserve, .. } | Did::CallHook { reserve, .. } => {
                session.open = Some(*reserve);
                self.reserve(*reserve);
            }
            Did::HearModel { origin, spent, ok, .. } | Did::HearHook { origin, spent, ok, .. } => {
                let open = session.open.take();
                add(&mut session.spent, *spent);
                if *ok {
                    if matches!(step.did, Did::HearModel { .. }) {
                        session.turns = session.turns.max(step.turn);
                    }
                    if origin != "provider" {
                        session.origin = Some(origin.clone());
                    }
                }
                if let Some(open) = open {
                    self.release(open);
                }
                self.spent.tokens = self.spent.tokens.saturating_add(spent.tokens);
                match spent.cost_micros {
                    Some(cost) => self.spent.cost_micros = self.spent.cost_micros.saturating_add(cost),
                    None => self.spent.unpriced_calls += 1,
                }
                self.spent.model_calls += u64::from(*ok);
                self.spent.unreal_calls += u64::from(*ok && origin != "provider");
            }
            Did::CallTool { .. } => {
                session.tool_calls += 1;
                self.spent.tool_calls += 1;
            }
            Did::HearTool { tree, .. } => {
                if let Some(tree) = tree {
                    session.tree = Some(tree.as_str().into());
                }
            }
            Did::Note => {}
        }
    }

    /// A call whose end nobody will hear of may have cost what it could.
    pub(super) fn settle_session(&mut self, inst: Inst) {
        let Some(session) = &mut self.instance_mut(inst).session else { return };
        let Some(open) = session.open.take() else { return };
        add(&mut session.spent, open);
        self.release(open);
        self.spent.tokens = self.spent.tokens.saturating_add(open.tokens);
        match open.cost_micros {
            Some(cost) => self.spent.cost_micros = self.spent.cost_micros.saturating_add(cost),
            None => self.spent.unpriced_calls += 1,
        }
    }

    /// What a node does from here on is another session.
    pub(super) fn end_session(&mut self, inst: Inst) {
        self.settle_session(inst);
        self.instance_mut(inst).session = None;
    }

    fn reserve(&mut self, spend: Spend) {
        self.reserved.tokens = self.reserved.tokens.saturating_add(spend.tokens);
        self.reserved.cost_micros =
            Some(self.reserved.cost_micros.unwrap_or(0).saturating_add(spend.cost_micros.unwrap_or(0)));
    }

    fn release(&mut self, spend: Spend) {
        self.reserved.tokens = self.reserved.tokens.saturating_sub(spend.tokens);
        self.reserved.cost_micros =
            Some(self.reserved.cost_micros.unwrap_or(0).saturating_sub(spend.cost_micros.unwrap_or(0)));
    }
}

fn add(sum: &mut Spend, more: Spend) {
    sum.tokens = sum.tokens.saturating_add(more.tokens);
    if let Some(cost) = more.cost_micros {
        sum.cost_micros = Some(sum.cost_micros.unwrap_or(0).saturating_add(cost));
    }
}
