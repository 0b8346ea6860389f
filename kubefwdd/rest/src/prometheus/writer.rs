//! Writes one metric after the other.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Unit;

/// Writes one metric after the other.
pub(super) struct Writer<'a, 'b>(pub(super) &'a mut DescriptorEncoder<'b>);

/// Times in seconds: a histogram without buckets of its own.
pub(super) struct Times {
    pub(super) sum: f64,
    pub(super) count: u64,
}

// === impl Writer ===

impl Writer<'_, '_> {
    /// A metric without labels.
    pub(super) fn one(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        metric: impl EncodeMetric,
    ) -> fmt::Result {
        let kind = metric.metric_type();
        metric.encode(self.0.encode_descriptor(name, help, unit.as_ref(), kind)?)
    }

    /// A metric for each set of labels.
    pub(super) fn family<L: EncodeLabelSet, M: EncodeMetric + TypedMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        metrics: impl IntoIterator<Item = (L, M)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, unit.as_ref(), M::TYPE)?;
        for (labels, metric) in metrics {
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

// === impl Times ===

impl TypedMetric for Times {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Times {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let all = [(f64::MAX, self.count)];
        encoder.encode_histogram::<NoLabelSet>(self.sum, self.count, &all, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
