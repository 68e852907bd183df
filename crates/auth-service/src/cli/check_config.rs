//! `check-config`: reads the whole configuration as a start would, and opens nothing.

use std::process::ExitCode;

use common_config::Env;

use super::complain;
use crate::Config;

/// Says what is wrong, if anything is. A log level is read as late as at a start, so it is tried here too.
pub(super) fn run(env: &Env) -> ExitCode {
    let (export, config) = (common_telemetry::Export::from_env(env), Config::from_env(env));
    let (Ok(_), Ok(config)) = (export, config) else {
        return complain(env);
    };
    match common_telemetry::init(crate::NAME, config.log_level.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(mistake) => {
            env.mistake(mistake);
            complain(env)
        }
    }
}
