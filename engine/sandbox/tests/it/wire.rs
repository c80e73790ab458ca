//! The codec of the guest protocol against hostile bytes.

use blueprint_sandbox::wire::{Decoder, Frame, FrameError, HEADER_BYTES, Kind, MAX_PAYLOAD_BYTES, encode};
use proptest::prelude::*;

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Boot, Kind::Exec, Kind::Stdin, Kind::Stdout, Kind::Exit, Kind::Pong])
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let frame = (kinds(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(kind, stream, payload)| Frame { kind, stream, payload });
    prop::collection::vec(frame, 0..20)
}

/// Feeds bytes in pieces and returns what came out.
fn decode(bytes: &[u8], piece: usize) -> (Vec<Frame>, Option<FrameError>, Decoder) {
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => out.push(frame),
                Ok(None) => break,
                Err(error) => return (out, Some(error), decoder),
            }
        }
    }
    (out, None, decoder)
}

proptest! {
    #[test]
    fn frames_survive_however_the_bytes_are_cut(frames in frames(), piece in 1_usize..500) {
        let mut bytes = Vec::new();
        for frame in &frames {
            encode(frame.kind, frame.stream, &frame.payload, &mut bytes).unwrap();
        }
        let (out, error, decoder) = decode(&bytes, piece);
        prop_assert_eq!(out, frames);
        prop_assert_eq!(error, None);
        prop_assert_eq!(decoder.pending_bytes(), 0);
    }

    #[test]
    fn hostile_bytes_neither_panic_nor_reserve_memory(
        bytes in prop::collection::vec(any::<u8>(), 0..4000),
        piece in 1_usize..500,
    ) {
        let (out, _, decoder) = decode(&bytes, piece);
        let held: usize = out.iter().map(|frame| frame.payload.len() + HEADER_BYTES).sum();
        prop_assert!(held <= bytes.len());
        prop_assert!(decoder.held_bytes() <= 4 * (bytes.len() + piece) + 64);
    }

    #[test]
    fn an_error_is_final(length in (MAX_PAYLOAD_BYTES as u32 + 1).., more in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut decoder = Decoder::new();
        decoder.push(&length.to_le_bytes());
        decoder.push(&[Kind::Stdout as u8, 0, 0, 0, 0]);
        prop_assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(length as usize)));
        decoder.push(&more);
        prop_assert!(decoder.next_frame().is_err());
    }
}

#[test]
fn every_kind_keeps_its_number() {
    let numbers: Vec<u8> = (0..=255)
        .filter(|kind| {
            let mut decoder = Decoder::new();
            decoder.push(&[0, 0, 0, 0, *kind, 0, 0, 0, 0]);
            matches!(decoder.next_frame(), Ok(Some(frame)) if frame.kind as u8 == *kind)
        })
        .collect();
    assert_eq!(numbers, (1..=22).collect::<Vec<u8>>());
}

#[test]
fn a_frame_that_is_too_long_is_never_sent() {
    let mut out = Vec::new();
    let payload = vec![0; MAX_PAYLOAD_BYTES + 1];
    assert_eq!(encode(Kind::Stdout, 1, &payload, &mut out), Err(FrameError::TooLong(payload.len())));
    assert!(out.is_empty());
    assert!(encode(Kind::Stdout, 1, &payload[1..], &mut out).is_ok());
}
