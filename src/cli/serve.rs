//! `run`, `ingest`, `process` and `query`: the application with some or all of its roles.

use super::{open_files, signals};
use crate::app::App;
use crate::config::Config;
use crate::shutdown::Shutdown;
use crate::telemetry::Role;
use std::process::ExitCode;

pub(super) async fn serve(config: Config, roles: &[Role]) -> anyhow::Result<ExitCode> {
    let timeout = config.shutdown_timeout;
    let connections = if roles.contains(&Role::Ingest) { config.ingest.max_connections } else { 0 };
    open_files::allow_for(connections, "ingest.max_connections");
    let app = App::build(config, roles).await?;
    let shutdown = Shutdown::new();
    signals::watch(shutdown.clone(), timeout)?;
    let addresses = app.addresses();
    for (role, address) in [("ingest", addresses.ingest), ("query", addresses.query), ("admin", Some(addresses.admin))]
    {
        if let Some(address) = address {
            tracing::info!(%address, "{role} listens");
        }
    }
    app.run(shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
