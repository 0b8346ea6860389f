//! Medians and percentiles.

/// The value below which this part of the samples lies; `NaN` without samples.
pub(crate) fn percentile(samples: &[f64], part: f64) -> f64 {
    let mut sorted: Vec<f64> = samples.iter().copied().filter(|s| s.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = (last as f64 * part).round() as usize;
    sorted[at.min(last)]
}

/// The middle of the samples.
pub(crate) fn median(samples: &[f64]) -> f64 {
    percentile(samples, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let samples = [3.0, 1.0, f64::NAN, 2.0, 100.0, 5.0];
        assert_eq!(median(&samples), 3.0);
        assert_eq!(percentile(&samples, 0.99), 100.0);
        assert_eq!(percentile(&samples, 0.0), 1.0);
        assert!(median(&[]).is_nan());
    }
}
