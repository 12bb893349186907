//! What is hot: from the cache, or from training runs.

use super::{ConvertError, root::Root};
use crate::{
    boot::Snapshot,
    cache::Store,
    lift::train::{self, Inputs, TrainError, Training},
    progress::Stages,
};

/// The profile of training runs that start from `snapshot`, and whether `store` had it.
///
/// # Errors
/// [`ConvertError::Train`].
pub fn train(
    inputs: &Inputs<'_>,
    snapshot: &Snapshot,
    root: &Root,
    store: Option<&dyn Store>,
    stages: &mut Stages,
) -> Result<(Training, bool), ConvertError> {
    stages.begin("training", None);
    let Some(store) = store else { return Ok((run(inputs, snapshot, root, stages)?, false)) };
    let key = inputs.key();
    if let Some(training) = store.get(&key).and_then(|bytes| Training::decode(&bytes)) {
        stages.note("from the cache".into());
        return Ok((training, true));
    }
    let training = run(inputs, snapshot, root, stages)?;
    if let Some(bytes) = training.encode() {
        store.put(&key, &bytes);
    }
    Ok((training, false))
}

fn run(
    inputs: &Inputs<'_>,
    snapshot: &Snapshot,
    root: &Root,
    stages: &mut Stages,
) -> Result<Training, TrainError> {
    train::train(snapshot, &|| root.map_again(), inputs.config, inputs.commands, inputs.limit, stages)
}
