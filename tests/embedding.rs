//! A predictor that was trained with a sentence encoder: which vectors it takes, and what it makes of them.

use std::fs;
use std::path::Path;

use pennyroute::{Artifacts, EncoderParameters, Error, Moment, RouteRequest, Router};

const DIFFICULT: [f32; 2] = [1.0, 0.0];
const EASY: [f32; 2] = [-1.0, 0.0];

fn shipped() -> Artifacts {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let manifest = fs::read(models.join("manifest.json")).unwrap();
    Artifacts::open(&manifest, |path| fs::read(models.join(path)).ok()).unwrap()
}

/// The shipped artifacts around a network that goes by the vector alone (`models/train/fixtures.py`).
fn with_encoder() -> Artifacts {
    let mut artifacts = Artifacts { index: None, ..shipped() };
    artifacts.predictor = include_bytes!("fixtures/encoder-input.onnx").to_vec();
    artifacts.parameters.encoder = Some(EncoderParameters { version: "tiny/1".into(), dimensions: 2 });
    artifacts
}

fn now() -> Moment {
    Moment::parse("2026-11-20T12:00:00Z").unwrap()
}

fn request(embedding: Option<&[f32]>) -> RouteRequest {
    RouteRequest { embedding: embedding.map(<[f32]>::to_vec), ..RouteRequest::prompt("Hi") }
}

/// What is wrong with a request's `embedding`.
fn refused(router: &Router, embedding: Option<&[f32]>) -> String {
    match router.route(&request(embedding), now()) {
        Err(Error::Request { field, what }) if field == "embedding" => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn estimates_go_by_the_vector() {
    let router = Router::new(with_encoder(), None).unwrap();
    let mean = |embedding: &[f32]| {
        let models = router.estimate(&request(Some(embedding)), now()).unwrap().models;
        models.iter().map(|e| e.quality.estimate).sum::<f64>() / models.len() as f64
    };
    assert!(mean(&DIFFICULT) + 0.1 < mean(&EASY));
    assert_eq!(router.describe(&request(Some(&[0.6, 0.8]))).unwrap().difficulty, f64::from(0.6f32));
}

#[test]
fn the_receipt_names_the_encoder() {
    let router = Router::new(with_encoder(), None).unwrap();
    let versions = router.route(&request(Some(&EASY)), now()).unwrap().versions;
    assert_eq!(versions.encoder.as_deref(), Some("tiny/1"));
    let plain = Router::new(shipped(), None).unwrap();
    assert!(!serde_json::to_string(plain.versions()).unwrap().contains("encoder"));
}

#[test]
fn a_vector_that_is_missing_or_not_the_encoders_is_refused() {
    let router = Router::new(with_encoder(), None).unwrap();
    let missing = refused(&router, None);
    assert!(
        missing.contains("is missing") && missing.contains("2 numbers") && missing.contains("tiny/1"),
        "{missing}"
    );
    for bad in [&[1.0, 0.0, 0.0][..], &[2.0, 0.0], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY, 0.0], &[]]
    {
        let what = refused(&router, Some(bad));
        assert!(what.contains("not 2 and 1"), "{bad:?}: {what}");
    }
    let rounded = request(Some(&[0.708, 0.708]));
    assert!(router.route(&rounded, now()).is_ok(), "three digits are enough");
}

#[test]
fn a_predictor_without_an_encoder_refuses_a_vector() {
    let router = Router::new(shipped(), None).unwrap();
    assert!(refused(&router, Some(&EASY)).contains("takes none"));
    assert!(router.route(&request(None), now()).is_ok());
}

#[test]
fn artifacts_that_name_an_encoder_and_a_network_that_takes_none_are_refused() {
    let mut artifacts = shipped();
    artifacts.parameters.encoder = Some(EncoderParameters { version: "tiny/1".into(), dimensions: 2 });
    assert!(matches!(Router::new(artifacts, None), Err(Error::Artifact { .. })));
    let mut artifacts = with_encoder();
    artifacts.parameters.encoder = None;
    assert!(matches!(Router::new(artifacts, None), Err(Error::Artifact { .. })));
}

#[test]
fn a_request_in_json_carries_its_vector() {
    let request = RouteRequest::from_json(r#"{"prompt": "Hi", "embedding": [0.6, -0.8]}"#).unwrap();
    assert_eq!(request.embedding.as_deref(), Some(&[0.6, -0.8][..]));
}
