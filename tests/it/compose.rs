//! docker-compose.yml and what it mounts, against the configuration and the repository: they drift apart
//! without a sound, and the tests need no Docker engine to see it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_yaml_ng::Value;

use crate::support::config_keys;

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Service {
    #[serde(default)]
    environment: BTreeMap<String, Value>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    depends_on: BTreeMap<String, Value>,
    healthcheck: Option<Value>,
    command: Option<String>,
    #[serde(default)]
    read_only: bool,
    stop_grace_period: Option<String>,
}

impl Service {
    fn env(&self, key: &str) -> String {
        match self.environment.get(key).unwrap_or_else(|| panic!("no {key}")) {
            Value::String(text) => text.clone(),
            other => serde_yaml_ng::to_string(other).unwrap().trim().to_owned(),
        }
    }

    /// Where a path inside the container comes from.
    fn mounted(&self, inside: &str) -> Option<&str> {
        let parts = self.volumes.iter().map(|volume| volume.split(':').collect::<Vec<_>>());
        parts.filter(|parts| parts[1] == inside).map(|parts| parts[0]).next()
    }
}

fn compose() -> Compose {
    serde_yaml_ng::from_str(&read("docker-compose.yml")).unwrap()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(in_repository(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn in_repository(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn default_config() -> toml::Table {
    read("config/streamgauge.toml").parse().unwrap()
}

/// `listen` of a section of the default configuration.
fn default_port(section: &str) -> String {
    let config = default_config();
    port(config[section]["listen"].as_str().unwrap()).to_owned()
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}

#[test]
fn the_services_are_these() {
    let services: Vec<_> = compose().services.into_keys().collect();
    assert_eq!(services, ["grafana", "kafka", "prometheus", "redis", "streamgauge"]);
}

#[test]
fn ports_are_published_to_this_machine_only() {
    for (name, service) in compose().services {
        assert!(!service.ports.is_empty(), "{name} publishes nothing");
        for port in &service.ports {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port}");
        }
    }
}

#[test]
fn ports_are_those_of_the_default_configuration() {
    let service = &compose().services["streamgauge"];
    let dockerfile = read("Dockerfile");
    for section in ["ingest", "query", "admin"] {
        let expected = default_port(section);
        let listen = service.env(&format!("STREAMGAUGE_{}__LISTEN", section.to_uppercase()));
        assert_eq!(port(&listen), expected, "{section}");
        let published = format!("127.0.0.1:{expected}:{expected}");
        assert!(service.ports.contains(&published), "{section}: {published}");
        let exposed = dockerfile.lines().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap();
        assert!(exposed.split(' ').any(|port| port == expected), "{section}: EXPOSE {exposed}");
    }
    let health = format!("/dev/tcp/127.0.0.1/{} ", default_port("admin"));
    assert!(dockerfile.contains(&health), "HEALTHCHECK does not ask {health}");
    let target = format!("\"streamgauge:{}\"", default_port("admin"));
    assert!(read("deploy/prometheus.yml").contains(&target), "Prometheus does not scrape {target}");
}

#[test]
fn environment_variables_name_documented_keys() {
    let documented = config_keys::documented(&read("config/streamgauge.toml"));
    let service = &compose().services["streamgauge"];
    for variable in service.environment.keys() {
        let key = variable.strip_prefix("STREAMGAUGE_").unwrap_or_else(|| panic!("{variable} is not ours"));
        let key = key.to_lowercase().replace("__", ".");
        assert!(documented.contains_key(&key), "{variable}: no key {key} in config/streamgauge.toml");
    }
}

#[test]
fn addresses_name_the_services() {
    let compose = compose();
    let (ours, kafka) = (&compose.services["streamgauge"], &compose.services["kafka"]);
    let brokers = ours.env("STREAMGAUGE_LOG__KAFKA__BROKERS");
    let advertised = kafka.env("KAFKA_ADVERTISED_LISTENERS");
    let mut names = advertised.split(',').map(|listener| listener.split_once("://").unwrap().1);
    assert!(names.any(|name| name == brokers), "{brokers} is not one of {advertised}");
    let listens = kafka.env("KAFKA_LISTENERS");
    assert!(listens.split(',').any(|listener| port(listener) == port(&brokers)), "{listens}");
    assert_eq!(ours.env("STREAMGAUGE_STORE__REDIS__URL"), "redis://redis:6379");

    // From outside the containers the default configuration reaches both.
    let config = default_config();
    let outside = config["log"]["kafka"]["brokers"].as_str().unwrap();
    assert!(advertised.contains(outside), "{outside} is not one of {advertised}");
    assert!(kafka.ports.iter().any(|published| port(published) == port(outside)));
    let redis = config["store"]["redis"]["url"].as_str().unwrap();
    assert!(compose.services["redis"].ports.iter().any(|published| port(published) == port(redis)));
}

#[test]
fn redis_keeps_what_it_is_given() {
    let command = compose().services["redis"].command.clone().unwrap();
    for option in ["--appendonly yes", "--appendfsync everysec", "--maxmemory-policy noeviction"] {
        assert!(command.contains(option), "{command}");
    }
}

#[test]
fn mounted_files_are_there() {
    let compose = compose();
    for (name, service) in &compose.services {
        for volume in &service.volumes {
            let source = volume.split(':').next().unwrap();
            if let Some(file) = source.strip_prefix("./") {
                assert!(in_repository(file).exists(), "{name} mounts {source}, which is not there");
                assert!(volume.ends_with(":ro"), "{name} may write to {source}");
            } else {
                assert!(compose.volumes.contains_key(source), "{name} mounts the unknown volume {source}");
            }
        }
    }
}

#[test]
fn programs_read_what_is_mounted() {
    let compose = compose();
    let ours = &compose.services["streamgauge"];
    let config = ours.command.as_ref().unwrap().split(' ').next_back().unwrap();
    assert_eq!(ours.mounted(config), Some("./config/streamgauge.toml"));
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains(&format!("COPY config/streamgauge.toml {config}")));
    assert!(dockerfile.contains("VOLUME /var/lib/streamgauge/data"));
    assert_eq!(ours.mounted("/var/lib/streamgauge/data"), Some("streamgauge"));

    let prometheus = &compose.services["prometheus"];
    let scraping: Value = serde_yaml_ng::from_str(&read("deploy/prometheus.yml")).unwrap();
    for rules in scraping["rule_files"].as_sequence().unwrap() {
        let rules = rules.as_str().unwrap();
        // Relative to the configuration that names them.
        let mounted = prometheus.mounted(&format!("/etc/prometheus/{rules}")).map(str::to_owned);
        assert_eq!(mounted, Some(format!("./deploy/{rules}")));
    }

    let grafana = &compose.services["grafana"];
    let provider = read("deploy/grafana/dashboards/streamgauge.yml");
    let folder = provider.lines().find_map(|line| line.trim().strip_prefix("path: ")).unwrap();
    assert_eq!(grafana.mounted(folder), Some("./dashboards"));
    let home = grafana.env("GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH");
    let home = home.strip_prefix(folder).unwrap().trim_start_matches('/');
    assert!(in_repository("dashboards").join(home).exists(), "{home}");
}

#[test]
fn prometheus_reads_the_windows_where_they_are_served() {
    let config: Value = serde_yaml_ng::from_str(&read("deploy/prometheus.yml")).unwrap();
    let url = format!("http://streamgauge:{}/api/v1/prometheus/read", default_port("query"));
    let read: Vec<&Value> = config["remote_read"].as_sequence().unwrap().iter().collect();
    for (from, metric) in read.iter().zip(["streamgauge_window_count", "streamgauge_window_total"]) {
        assert_eq!(from["url"], url.as_str());
        assert_eq!(from["read_recent"], true, "else it would ask its own storage for what is young");
        assert_eq!(from["required_matchers"]["__name__"], metric);
    }
    assert_eq!(read.len(), 2);
}

#[test]
fn everything_comes_up_in_order() {
    let compose = compose();
    for (name, service) in &compose.services {
        for (needed, how) in &service.depends_on {
            assert_eq!(how["condition"], "service_healthy", "{name} on {needed}");
            let checked = compose.services[needed].healthcheck.is_some()
                || (needed == "streamgauge" && read("Dockerfile").contains("\nHEALTHCHECK "));
            assert!(checked, "{name} waits for {needed}, which has no health check");
        }
    }
    let waits: Vec<_> = compose.services["streamgauge"].depends_on.keys().collect();
    assert_eq!(waits, ["kafka", "redis"]);
}

#[test]
fn streamgauge_runs_with_few_rights_and_has_time_to_drain() {
    let service = &compose().services["streamgauge"];
    assert!(service.read_only);
    let dockerfile = read("Dockerfile");
    let user = dockerfile.lines().rev().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert!(!user.starts_with('0') && user != "root", "USER {user}");

    let seconds = |text: &str| text.strip_suffix('s').unwrap().parse::<u32>().unwrap();
    let drain = seconds(default_config()["shutdown_timeout"].as_str().unwrap());
    let grace = seconds(service.stop_grace_period.as_ref().unwrap());
    assert!(grace >= drain + 2, "{grace} s to drain, {drain} + 2 s needed");
}
