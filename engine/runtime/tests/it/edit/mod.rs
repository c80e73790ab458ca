//! `edit` nodes, run as part of real runs on real repositories.

#![cfg(test)]

mod kinds;
mod lab;
mod places;
