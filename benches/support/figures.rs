//! Figures as they are shown: the median with the range of all repeats, ratios pair by pair.

/// `median (lowest–highest)`.
pub fn spread(figures: &[f64], digits: usize) -> String {
    let sorted = sorted(figures);
    let (first, last) = (sorted[0], sorted[sorted.len() - 1]);
    format!("{:.digits$} ({first:.digits$}–{last:.digits$})", median(figures))
}

/// The one in the middle.
pub fn median(figures: &[f64]) -> f64 {
    percentile(figures, 50.0)
}

/// The smallest figure that is not below `percent` of them.
pub fn percentile(figures: &[f64], percent: f64) -> f64 {
    let sorted = sorted(figures);
    let place = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted[place.clamp(1, sorted.len()) - 1]
}

/// What was measured in the same turn, divided: `ours[i] / theirs[i]`.
pub fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    assert_eq!(ours.len(), theirs.len(), "a turn without its pair");
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

fn sorted(figures: &[f64]) -> Vec<f64> {
    assert!(!figures.is_empty(), "nothing was measured");
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}
