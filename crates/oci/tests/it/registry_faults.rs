//! A real registry behind a proxy that makes the faults of real ones.

use std::time::{Duration, Instant};

use berth_model::digest::Digest;
use berth_model::image::RegistryRef;
use berth_model::resource::PullPolicy::{IfNotPresent, Never};
use berth_oci::{PullFailure, PullStage, RegistryLimits, RegistrySource};
use berth_testkit::registry::{Fault, FaultProxy, Gate, Registry};

use crate::pushed::{Pusher, WASM, component, image, settings, source};

const MANIFESTS: &str = "/manifests/";
const BLOBS: &str = "/blobs/";

/// A registry with one image behind a proxy, and a source.
struct Scene {
    registry: Registry,
    proxy: FaultProxy,
    folder: tempfile::TempDir,
    hello: RegistryRef,
    content: Vec<u8>,
    source: RegistrySource,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut RegistryLimits)) -> Self {
        let registry = Registry::plain().await;
        let proxy = FaultProxy::start(registry.addr()).await;
        let content = component(7, 300_000);
        Pusher::plain().push(&format!("{}/a/b:1", registry.name()), &[(WASM, &content)]).await;
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(&[&proxy.name(), &registry.name()]);
        change(&mut settings.limits);
        let source = source(folder.path(), settings);
        Self { hello: image(&format!("{}/a/b:1", proxy.name())), registry, proxy, folder, content, source }
    }

    async fn pull(&self) -> Result<Vec<u8>, PullFailure> {
        let pulled = self.source.pull(&self.hello, IfNotPresent, None).await;
        pulled.map(|artifact| artifact.bytes.to_vec()).map_err(|error| std::sync::Arc::into_inner(error).unwrap().reason)
    }

    /// The pull fails and leaves no component behind; without faults it succeeds.
    async fn fails(&self) -> PullFailure {
        let failure = self.pull().await.unwrap_err();
        let blobs = self.folder.path().join("images/blobs/sha256").join(Digest::of(&self.content).hex());
        assert!(!blobs.exists(), "{failure}");
        self.proxy.heal();
        assert_eq!(self.pull().await.unwrap(), self.content);
        failure
    }
}

#[tokio::test]
async fn passing_failures_are_tried_again() {
    let scene = Scene::with(|limits| limits.attempts = 6).await;
    scene.proxy.next(MANIFESTS, Fault::Status(503, vec![]));
    scene.proxy.next(MANIFESTS, Fault::Status(502, vec![]));
    scene.proxy.next(BLOBS, Fault::Status(500, vec![]));
    scene.proxy.next(BLOBS, Fault::BreakAfter(1000));
    scene.proxy.next(BLOBS, Fault::Short(1000));
    scene.proxy.next(BLOBS, Fault::Status(429, vec![]));
    assert_eq!(scene.pull().await.unwrap(), scene.content);
    assert_eq!((scene.source.metrics().retries.get(), scene.source.metrics().failures.get()), (6, 0));
}

#[tokio::test]
async fn a_registry_that_keeps_failing_is_asked_as_often_as_configured() {
    let scene = Scene::new().await;
    scene.proxy.always(MANIFESTS, Fault::Status(503, vec![]));
    let failure = scene.pull().await.unwrap_err();
    assert!(matches!(failure, PullFailure::Failing { status: 503, .. }), "{failure}");
    assert_eq!(scene.proxy.requests(MANIFESTS), 3);
    assert_eq!(scene.source.metrics().failures.get(), 1);
}

#[tokio::test]
async fn retry_after_is_honoured_within_its_bound() {
    let scene = Scene::new().await;
    scene.proxy.next(MANIFESTS, Fault::Status(429, vec![("retry-after", "1".to_owned())]));
    let begun = Instant::now();
    assert_eq!(scene.pull().await.unwrap(), scene.content);
    assert!(begun.elapsed() >= Duration::from_secs(1));

    let scene = Scene::new().await;
    scene.proxy.next(MANIFESTS, Fault::Status(429, vec![("retry-after", "3600".to_owned())]));
    let failure = scene.pull().await.unwrap_err();
    assert!(matches!(failure, PullFailure::RateLimited { .. }) && failure.to_string().contains("3600 s"), "{failure}");
    assert_eq!(scene.proxy.requests(MANIFESTS), 1);
}

#[tokio::test]
async fn refusals_are_not_tried_again() {
    for status in [401, 403, 404, 400] {
        let scene = Scene::new().await;
        scene.proxy.always(MANIFESTS, Fault::Status(status, vec![]));
        let failure = scene.pull().await.unwrap_err();
        let named = match status {
            401 => matches!(failure, PullFailure::Unauthorized { .. }),
            403 => matches!(failure, PullFailure::Denied { .. }),
            404 => matches!(failure, PullFailure::NotFound { .. }),
            _ => matches!(failure, PullFailure::Unexpected { .. }),
        };
        assert!(named, "{status}: {failure}");
        // It asked for no credentials, so to bring some may not help; the text says both.
        assert_eq!(failure.to_string().contains("asked for no credentials"), status == 403, "{failure}");
        assert_eq!((scene.proxy.requests(MANIFESTS), scene.source.metrics().retries.get()), (1, 0), "{status}");
    }
}

#[tokio::test]
async fn l35_content_that_is_not_what_was_asked_for_is_never_kept() {
    let scene = Scene::new().await;
    scene.proxy.always(BLOBS, Fault::Changed);
    let failure = scene.fails().await;
    assert!(matches!(failure, PullFailure::WrongDigest { what: "component", .. }), "{failure}");

    let scene = Scene::new().await;
    scene.proxy.always(MANIFESTS, Fault::Changed);
    let failure = scene.fails().await;
    assert!(matches!(failure, PullFailure::WrongDigest { what: "manifest", .. }), "{failure}");
}

#[tokio::test]
async fn l35_a_registry_whose_storage_is_damaged_is_found_out() {
    let scene = Scene::new().await;
    let stored = scene.registry.blob_path(Digest::of(&scene.content).hex());
    let mut damaged = scene.content.clone();
    damaged[150_000] ^= 1;
    std::fs::write(&stored, &damaged).unwrap();
    let failure = scene.pull().await.unwrap_err();
    assert!(matches!(failure, PullFailure::WrongDigest { .. }), "{failure}");
    std::fs::remove_file(&stored).unwrap();
    let failure = scene.pull().await.unwrap_err();
    assert!(matches!(failure, PullFailure::BlobNotFound { .. } | PullFailure::Failing { .. }), "{failure}");
    std::fs::write(&stored, &scene.content).unwrap();
    assert_eq!(scene.pull().await.unwrap(), scene.content);
}

#[tokio::test]
async fn l35_a_component_that_is_always_cut_off_is_never_kept() {
    for fault in [Fault::Short(1000), Fault::BreakAfter(1000), Fault::Short(0)] {
        let scene = Scene::new().await;
        scene.proxy.always(BLOBS, fault.clone());
        let failure = scene.fails().await;
        assert!(matches!(failure, PullFailure::Truncated { expected_bytes: 300_000, .. }), "{fault:?}: {failure}");
        assert_eq!(scene.proxy.requests(BLOBS), 4, "{fault:?}");
    }
}

#[tokio::test]
async fn more_than_was_announced_or_is_allowed_is_not_read() {
    let scene = Scene::new().await;
    scene.proxy.always(BLOBS, Fault::Endless(50_000_000));
    let failure = scene.fails().await;
    assert!(matches!(failure, PullFailure::Overlong { expected_bytes: 300_000, .. }), "{failure}");

    let scene = Scene::with(|limits| limits.component_bytes = 299_999).await;
    let failure = scene.pull().await.unwrap_err();
    assert!(matches!(failure, PullFailure::TooLarge { what: "component", actual_bytes: Some(300_000), .. }), "{failure}");
    assert_eq!(scene.proxy.requests(BLOBS), 0);

    for fault in [None, Some(Fault::Endless(50_000_000))] {
        let scene = Scene::with(|limits| limits.manifest_bytes = 100).await;
        if let Some(fault) = fault {
            scene.proxy.always(MANIFESTS, fault);
        }
        let failure = scene.pull().await.unwrap_err();
        assert!(matches!(failure, PullFailure::TooLarge { what: "manifest", limit_bytes: 100, .. }), "{failure}");
    }
}

#[tokio::test]
async fn redirects_are_followed_and_bounded() {
    let scene = Scene::new().await;
    let storage = format!("http://{}/v2/a/b/blobs/{}", scene.registry.name(), Digest::of(&scene.content));
    scene.proxy.next(BLOBS, Fault::RedirectTo(storage));
    assert_eq!(scene.pull().await.unwrap(), scene.content);

    let scene = Scene::new().await;
    scene.proxy.always(BLOBS, Fault::RedirectToItself);
    let failure = scene.fails().await;
    assert!(matches!(failure, PullFailure::Redirects { limit: 5, .. }), "{failure}");
    // The first request, five redirects, and the one without a fault.
    assert_eq!(scene.proxy.requests(BLOBS), 7);
}

#[tokio::test]
async fn a_registry_that_falls_silent_is_given_up_in_time() {
    let scene = Scene::with(|limits| (limits.stall, limits.attempts) = (Duration::from_millis(200), 2)).await;
    scene.proxy.always(BLOBS, Fault::HoldAfter(1000, Gate::closed()));
    let failure = scene.fails().await;
    assert!(matches!(failure, PullFailure::Stalled { .. }), "{failure}");
    assert_eq!(scene.proxy.requests(BLOBS), 3);

    let scene = Scene::with(|limits| limits.pull = Duration::from_millis(300)).await;
    scene.proxy.always(BLOBS, Fault::HoldAfter(1000, Gate::closed()));
    let failure = scene.pull().await.unwrap_err();
    assert!(matches!(failure, PullFailure::TooSlow { .. }), "{failure}");
}

#[tokio::test]
async fn l35_all_who_ask_share_one_pull_and_see_how_far_it_is() {
    let scene = Scene::new().await;
    let gate = Gate::closed();
    scene.proxy.always(BLOBS, Fault::HoldAfter(1000, gate.clone()));
    let mut watch = scene.source.pulls();
    let ask = || {
        let (source, hello) = (scene.source.clone(), scene.hello.clone());
        tokio::spawn(async move { source.pull(&hello, IfNotPresent, None).await })
    };
    let (leaves, stay) = (ask(), [ask(), ask(), ask()]);
    let arrived = loop {
        match &watch.now()[..] {
            [pulling] if pulling.done_bytes > 0 => break pulling.clone(),
            _ => assert!(tokio::time::timeout(Duration::from_secs(30), watch.changed()).await.unwrap()),
        }
    };
    assert_eq!((arrived.stage, arrived.done_bytes, arrived.total_bytes), (PullStage::Transferring, 1000, 300_000));
    assert_eq!(arrived.image, scene.hello.to_string());
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    gate.open();
    for asker in stay {
        assert_eq!(asker.await.unwrap().unwrap().bytes, scene.content);
    }
    assert_eq!((scene.proxy.requests(BLOBS), scene.source.metrics().pulls.get()), (1, 1));
    assert_eq!(watch.now(), []);
}

#[tokio::test]
async fn l35_a_component_in_two_images_is_transferred_once() {
    let scene = Scene::new().await;
    Pusher::plain().push(&format!("{}/c/d:9", scene.registry.name()), &[(WASM, &scene.content)]).await;
    let other = image(&format!("{}/c/d:9", scene.proxy.name()));
    let gate = Gate::closed();
    scene.proxy.always(BLOBS, Fault::HoldAfter(1000, gate.clone()));
    let (first, second) = tokio::join!(scene.source.pull(&scene.hello, IfNotPresent, None), async {
        scene.proxy.requested(BLOBS, 1).await;
        let pulled = tokio::join!(scene.source.pull(&other, IfNotPresent, None), async {
            scene.proxy.requested(MANIFESTS, 2).await;
            gate.open();
        });
        pulled.0
    });
    assert_eq!((first.unwrap().bytes, second.unwrap().bytes), (scene.content.clone().into(), scene.content.clone().into()));
    assert_eq!(scene.proxy.requests(BLOBS), 1);
}

#[tokio::test]
async fn a_pull_that_nobody_waits_for_ends_and_the_next_one_begins_anew() {
    let scene = Scene::new().await;
    scene.proxy.next(BLOBS, Fault::HoldAfter(1000, Gate::closed()));
    {
        let left = scene.source.pull(&scene.hello, IfNotPresent, None);
        tokio::select! {
            _ = left => panic!("the component is held back"),
            () = scene.proxy.requested(BLOBS, 1) => {}
        }
    }
    assert_eq!(scene.source.pulls().now(), []);
    assert_eq!(scene.pull().await.unwrap(), scene.content);
}

#[tokio::test]
async fn l35_a_registry_that_hangs_does_not_hold_up_what_is_cached() {
    let scene = Scene::with(|limits| limits.concurrent_pulls = 1).await;
    scene.pull().await.unwrap();
    Pusher::plain().push(&format!("{}/c/d:1", scene.registry.name()), &[(WASM, b"other")]).await;
    scene.proxy.always(BLOBS, Fault::HoldAfter(0, Gate::closed()));
    let hanging = image(&format!("{}/c/d:1", scene.proxy.name()));
    tokio::select! {
        _ = scene.source.pull(&hanging, IfNotPresent, None) => panic!("the component is held back"),
        () = async {
            scene.proxy.requested(BLOBS, 2).await;
            for policy in [IfNotPresent, Never] {
                assert_eq!(scene.source.pull(&scene.hello, policy, None).await.unwrap().bytes, scene.content);
            }
        } => {}
    }
}

#[tokio::test]
async fn a_registry_that_hangs_leaves_places_for_others() {
    let scene = Scene::with(|limits| (limits.concurrent_pulls, limits.concurrent_pulls_per_registry) = (2, 1)).await;
    scene.proxy.always(MANIFESTS, Fault::HoldAfter(0, Gate::closed()));
    let hanging = [1, 2, 3].map(|tag| image(&format!("{}/c/d:{tag}", scene.proxy.name())));
    let [first, second, third] = &hanging;
    // The same registry under its own name.
    let other = image(&format!("{}/a/b:1", scene.registry.name()));
    tokio::select! {
        _ = async { tokio::join!(scene.pull(), scene.source.pull(first, IfNotPresent, None), scene.source.pull(second, IfNotPresent, None)) } => {
            panic!("the manifests are held back")
        }
        _ = scene.source.pull(third, IfNotPresent, None) => panic!("the manifests are held back"),
        pulled = async {
            scene.proxy.requested(MANIFESTS, 1).await;
            scene.source.pull(&other, IfNotPresent, None).await
        } => assert_eq!(pulled.unwrap().bytes, scene.content),
    }
    assert_eq!(scene.proxy.requests(MANIFESTS), 1);
}

#[tokio::test]
async fn l35_a_damaged_copy_is_never_used_and_is_fetched_again() {
    let scene = Scene::new().await;
    scene.pull().await.unwrap();
    let copy = scene.folder.path().join("images/blobs/sha256").join(Digest::of(&scene.content).hex());
    for damaged in [&b"short"[..], &component(8, 300_000)] {
        std::fs::write(&copy, damaged).unwrap();
        let error = scene.source.pull(&scene.hello, Never, None).await.unwrap_err();
        assert!(matches!(error.reason, PullFailure::NotCached), "{error}");
        assert_eq!(scene.pull().await.unwrap(), scene.content);
    }
    assert_eq!(scene.source.metrics().corrupt.get(), 2);
}

#[tokio::test]
async fn a_cache_that_is_too_small_makes_pulls_slower_and_nothing_else() {
    let scene = Scene::new().await;
    let small = berth_oci::CacheSettings { max_bytes: 100_000, ..berth_oci::CacheSettings::in_folder(scene.folder.path().join("small")) };
    let cache = berth_oci::Cache::open(small).unwrap();
    let settings = settings(&[&scene.proxy.name()]);
    let source = RegistrySource::new(settings, cache).unwrap();
    for _ in 0..2 {
        let artifact = source.pull(&scene.hello, IfNotPresent, None).await.unwrap();
        assert_eq!((artifact.bytes.to_vec(), artifact.cached), (scene.content.clone(), false));
    }
    assert_eq!((source.metrics().unstored.get(), scene.proxy.requests(BLOBS)), (2, 2));
}

#[tokio::test]
async fn l35_a_registry_that_hangs_holds_up_nobody_who_gets_the_same_component_elsewhere() {
    let scene = Scene::new().await;
    let elsewhere = FaultProxy::start(scene.registry.addr()).await;
    let source = source(scene.folder.path(), settings(&[&scene.proxy.name(), &elsewhere.name()]));
    scene.proxy.always(BLOBS, Fault::HoldAfter(1000, Gate::closed()));
    let image_of = |proxy: &FaultProxy| image(&format!("{}/a/b:1", proxy.name()));
    let (hanging, good) = (image_of(&scene.proxy), image_of(&elsewhere));
    let mut hangs = Box::pin(source.pull(&hanging, IfNotPresent, None));
    tokio::select! {
        biased;
        _ = &mut hangs => panic!("nothing comes from a registry that hangs"),
        () = scene.proxy.requested(BLOBS, 1) => {}
    }
    assert_eq!((source.running(), source.running_from_one()), (1, 1));
    let pulled = tokio::select! {
        biased;
        pulled = source.pull(&good, IfNotPresent, None) => pulled,
        _ = &mut hangs => panic!("nothing comes from a registry that hangs"),
    };
    assert_eq!(pulled.unwrap().bytes, scene.content);
    drop(hangs);
    assert_eq!(source.running(), 0);
}
