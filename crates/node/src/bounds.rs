//! The bounds of a process for `/metrics`: each setting that work can run into, how much of it is used, and how often it was reached.

use std::sync::Weak;

use berth_host::{Bound, Host};
use berth_oci::RegistrySource;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::caches::Caches;
use crate::system::{ProcessFigures, open_files};

/// Reads all bounds of a process.
#[derive(Clone)]
pub(crate) struct Bounds {
    pub(crate) host: Weak<Host>,
    pub(crate) registry: RegistrySource,
    pub(crate) caches: Caches,
}

impl Bounds {
    fn read(&self) -> Vec<Bound> {
        let kept = |setting, used, most| Bound { setting, used, most, reached: None };
        let mut bounds = self.host.upgrade().map_or_else(Vec::new, |host| host.bounds());
        let limits = &self.registry.settings().limits;
        bounds.push(kept("pulls", self.registry.running() as u64, limits.concurrent_pulls as u64));
        bounds.push(kept("pulls-per-registry", self.registry.running_from_one() as u64, limits.concurrent_pulls_per_registry as u64));
        bounds.push(kept("open-files", ProcessFigures::read().open_fds, open_files()));
        // A folder that can't be read has no size to tell.
        if let Ok(held) = self.caches.summary() {
            bounds.push(kept("image-cache-size", held.image_bytes, self.caches.images.settings().max_bytes));
            bounds.push(kept("code-cache-size", held.code_bytes, self.caches.code.settings().max_bytes));
        }
        bounds
    }
}

impl std::fmt::Debug for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bounds")
    }
}

impl Collector for Bounds {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let bounds = self.read();
        type Read = fn(&Bound) -> u64;
        let gauges: [(&str, &str, Read); 2] = [
            ("berth_bound", "how much of it there may be, by the setting that says so", |bound| bound.most),
            ("berth_bound_used", "how much of it there is", |bound| bound.used),
        ];
        for (name, help, value) in gauges {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for bound in &bounds {
                let value = i64::try_from(value(bound)).unwrap_or(i64::MAX);
                metric.encode_family(&[("setting", bound.setting)])?.encode_gauge(&value)?;
            }
        }
        let help = "how often work was turned away or had to wait because of it";
        let mut metric = encoder.encode_descriptor("berth_bound_reached", help, None, MetricType::Counter)?;
        for bound in &bounds {
            let Some(reached) = bound.reached else { continue };
            metric.encode_family(&[("setting", bound.setting)])?.encode_counter::<NoLabelSet, _, f64>(&reached, None)?;
        }
        Ok(())
    }
}
