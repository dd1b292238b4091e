//! Mail, by SMTP. The password is sent through TLS alone.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message as Letter, Tokio1Executor};
use secrecy::ExposeSecret;

use crate::alarm::Message;
use crate::config::Mail;

/// For each answer of the server.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    /// TLS from the first byte on.
    Tls,
    /// TLS after a word in the open; a server that cannot do that gets nothing.
    StartTls,
    /// None: for a server on the same machine.
    Plain,
}

/// A server.
#[derive(Debug, PartialEq, Eq)]
struct Server<'a> {
    security: Security,
    user: Option<&'a str>,
    host: &'a str,
    port: u16,
}

impl<'a> Server<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let wrong = || {
            "it is no address of a server: write smtp://user@host:587 (STARTTLS), smtps://user@host:465 or \
             smtp+plain://host:25"
                .to_owned()
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (security, usual) = match scheme {
            "smtps" => (Security::Tls, 465),
            "smtp" => (Security::StartTls, 587),
            "smtp+plain" => (Security::Plain, 25),
            _ => return Err(wrong()),
        };
        // A user is often an address of mail.
        let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
        let place = place.trim_end_matches('/');
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (place, usual),
        };
        if host.is_empty() || host.contains('/') || user.is_some_and(|user| user.contains(':')) {
            return Err(wrong());
        }
        Ok(Server { security, user: user.filter(|user| !user.is_empty()), host, port })
    }
}

/// Finds out what can be found out before there is something to send.
///
/// # Errors
/// Why it could not be sent.
pub(crate) fn check(mail: &Mail) -> Result<(), String> {
    let server = Server::parse(&mail.server)?;
    if server.user.is_some() && mail.password.is_none() {
        return Err("it names a user, and there is no password: set BACKUP_MAIL_PASSWORD_FILE".to_owned());
    }
    if server.user.is_none() && mail.password.is_some() {
        return Err("there is a password, and it names no user: write smtp://user@host:587".to_owned());
    }
    if server.security == Security::Plain && mail.password.is_some() {
        return Err("a password is sent through TLS alone: write smtp:// or smtps://".to_owned());
    }
    let message = Message {
        job: String::new(),
        occasion: super::Occasion::Failure,
        subject: String::new(),
        text: String::new(),
    };
    letter(mail, &message).map(drop)
}

/// Sends it.
///
/// # Errors
/// Why it was not sent.
pub(super) async fn send(mail: &Mail, message: &Message) -> Result<(), String> {
    let server = Server::parse(&mail.server)?;
    let tls = || TlsParameters::new(server.host.to_owned()).map_err(|error| crate::words::chain(&error));
    let tls = match server.security {
        Security::Tls => Tls::Wrapper(tls()?),
        Security::StartTls => Tls::Required(tls()?),
        Security::Plain => Tls::None,
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.host)
        .port(server.port)
        .tls(tls)
        .timeout(Some(PATIENCE));
    if let (Some(user), Some(password)) = (server.user, &mail.password) {
        let credentials = Credentials::new(user.to_owned(), password.expose_secret().to_owned());
        transport = transport.credentials(credentials);
    }
    let sent = transport.build().send(letter(mail, message)?).await;
    sent.map(drop).map_err(|error| crate::words::chain(&error))
}

fn letter(mail: &Mail, message: &Message) -> Result<Letter, String> {
    let mailbox = |address: &str| {
        address.parse::<Mailbox>().map_err(|_| format!("{address:?} is no address of mail: write name@host"))
    };
    let mut letter = Letter::builder().from(mailbox(&mail.from)?).subject(&message.subject);
    for address in &mail.to {
        letter = letter.to(mailbox(address)?);
    }
    letter.body(message.text.clone()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let server = |text| Server::parse(text).unwrap();
        let one = server("smtp://me@example.org@mail.example.org");
        assert_eq!(
            (one.security, one.user, one.host, one.port),
            (Security::StartTls, Some("me@example.org"), "mail.example.org", 587)
        );
        assert_eq!(server("smtps://h").port, 465);
        assert_eq!(server("smtp+plain://localhost:2525/").port, 2525);
        for bad in ["mail.example.org", "smtp://", "smtp://u:p@h", "http://h", "smtp://h:port", "smtp://h/x"]
        {
            assert!(Server::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_is_never_sent_in_the_open() {
        let mail = |server: &str, password: Option<&str>| Mail {
            to: vec!["a@example.org".into()],
            from: "b@example.org".into(),
            server: server.into(),
            password: password.map(Into::into),
            always: false,
        };
        assert!(check(&mail("smtp+plain://u@h", Some("p"))).unwrap_err().contains("through TLS alone"));
        assert!(check(&mail("smtp://u@h", None)).unwrap_err().contains("no password"));
        assert!(check(&mail("smtp://h", Some("p"))).unwrap_err().contains("names no user"));
        check(&mail("smtps://u@h", Some("p"))).unwrap();
        let wrong = Mail { to: vec!["nobody".into()], ..mail("smtp+plain://h", None) };
        assert!(check(&wrong).unwrap_err().contains("nobody"));
    }
}
