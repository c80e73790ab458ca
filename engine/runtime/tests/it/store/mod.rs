//! The journal, tried on real files, processes and mounts.

#![cfg(test)]

mod anchors;
mod append;
mod blobs;
mod changes;
mod children;
mod crash;
mod disk;
mod files;
mod fixture;
mod inbox;
mod lease;
mod property;
mod salvage;
mod syncs;
mod tamper;
