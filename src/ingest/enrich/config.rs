use serde::{Deserialize, Serialize};
use std::fmt;

/// `[ingest.enrich]`: what is added to events that come from browsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Enrichment {
    /// `browser`, `os` and `device`, of the user agent.
    pub user_agent: bool,
    /// `language`, of Accept-Language.
    pub language: bool,
    /// `referrer`, the host of `payload.referrer`.
    pub referrer: bool,
    /// `utm_source` and its like, of `payload.url`.
    pub utm: bool,
    /// `visitor`, an id that holds for a day.
    pub visitor: bool,
    /// What is done with programs that are no visitors.
    pub bots: Bots,
    /// Whether anything of the address is stored.
    pub ip: Ip,
}

/// What is done with programs that are no visitors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bots {
    /// Their events say `bot`, and have no `visitor`.
    #[default]
    Flag,
    /// Their requests are refused.
    Refuse,
    /// They are not told from visitors.
    Off,
}

/// What is stored of the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ip {
    /// Nothing.
    #[default]
    None,
    /// `ip`, the network that it is in: a /24 of IPv4, a /48 of IPv6.
    Truncated,
}

impl Default for Enrichment {
    fn default() -> Enrichment {
        Enrichment {
            user_agent: true,
            language: true,
            referrer: true,
            utm: true,
            visitor: true,
            bots: Bots::default(),
            ip: Ip::default(),
        }
    }
}

/// `enrich` of a site: what it wants otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct EnrichmentOverride {
    user_agent: Option<bool>,
    language: Option<bool>,
    referrer: Option<bool>,
    utm: Option<bool>,
    visitor: Option<bool>,
    bots: Option<Bots>,
    ip: Option<Ip>,
}

/// What is done with visitors' data, in a line.
impl fmt::Display for Enrichment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.user_agent, "browser, os, device"),
            (self.language, "language"),
            (self.referrer, "referrer"),
            (self.utm, "utm"),
            (self.visitor, "visitor (an id for a day)"),
            (self.ip == Ip::Truncated, "ip (truncated)"),
        ];
        let added: Vec<&str> = parts.into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| name).collect();
        let added =
            if added.is_empty() { "nothing is added".to_owned() } else { format!("added {}", added.join(", ")) };
        let bots = match self.bots {
            Bots::Flag => "bots are flagged",
            Bots::Refuse => "bots are refused",
            Bots::Off => "bots are not told apart",
        };
        write!(f, "{added}; {bots}")
    }
}

impl Enrichment {
    /// The same but for what a site wants otherwise.
    pub fn with(self, site: &EnrichmentOverride) -> Enrichment {
        Enrichment {
            user_agent: site.user_agent.unwrap_or(self.user_agent),
            language: site.language.unwrap_or(self.language),
            referrer: site.referrer.unwrap_or(self.referrer),
            utm: site.utm.unwrap_or(self.utm),
            visitor: site.visitor.unwrap_or(self.visitor),
            bots: site.bots.unwrap_or(self.bots),
            ip: site.ip.unwrap_or(self.ip),
        }
    }

    /// Whether it adds anything, or refuses anybody.
    pub(in crate::ingest) fn is_any(&self) -> bool {
        let adds = self.user_agent || self.language || self.referrer || self.utm || self.visitor;
        adds || self.bots != Bots::Off || self.ip != Ip::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_changes_what_it_names() {
        let all: Enrichment = toml::from_str("").unwrap();
        assert_eq!(all, Enrichment::default());
        assert!(all.visitor && all.bots == Bots::Flag && all.ip == Ip::None);
        let site: EnrichmentOverride =
            toml::from_str("visitor = false\nbots = \"refuse\"\nip = \"truncated\"").unwrap();
        let expected = Enrichment { visitor: false, bots: Bots::Refuse, ip: Ip::Truncated, ..all };
        assert_eq!(all.with(&site), expected);
        assert_eq!(expected.with(&EnrichmentOverride::default()), expected);
        assert!(toml::from_str::<Enrichment>("bots = \"drop\"").is_err());
    }

    #[test]
    fn everything_can_be_switched_off() {
        let off =
            "user_agent = false\nlanguage = false\nreferrer = false\nutm = false\nvisitor = false\nbots = \"off\"";
        let off: Enrichment = toml::from_str(off).unwrap();
        assert!(!off.is_any());
        assert_eq!(off.to_string(), "nothing is added; bots are not told apart");
        assert_eq!(
            Enrichment { language: true, ip: Ip::Truncated, bots: Bots::Refuse, ..off }.to_string(),
            "added language, ip (truncated); bots are refused"
        );
        assert!(Enrichment { ip: Ip::Truncated, ..off }.is_any() && Enrichment { bots: Bots::Flag, ..off }.is_any());
    }
}
