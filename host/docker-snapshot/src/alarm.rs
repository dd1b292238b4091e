//! Tells others how a run went: webhooks, mail, a program. Who is told learns no secret, and that somebody
//! cannot be told changes nothing about the backup: it is said where the run is followed.

mod command;
pub(crate) mod judge;
pub(crate) mod mail;
mod webhook;

use crate::config::Alarms;

/// What is told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// A run begins.
    Start,
    /// A backup was made, and all is well.
    Success,
    /// There is no backup, or one that cannot be relied on.
    Failure,
}

impl Occasion {
    /// Its name, for programs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Occasion::Start => "start",
            Occasion::Success => "success",
            Occasion::Failure => "failure",
        }
    }
}

/// What is told.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) job: String,
    pub(crate) occasion: Occasion,
    /// One line.
    pub(crate) subject: String,
    /// All that a person wants to know.
    pub(crate) text: String,
}

/// Tells all who are to be told; why some were not.
pub(crate) async fn tell(alarms: &Alarms, message: &Message) -> Vec<String> {
    let mut problems = Vec::new();
    let hook = match message.occasion {
        Occasion::Start => &alarms.start,
        Occasion::Success => &alarms.success,
        Occasion::Failure => &alarms.failure,
    };
    if let Some(hook) = hook {
        let told = webhook::call(hook, message).await;
        problems.extend(
            told.err().map(|why| format!("cannot call the {} webhook: {why}", message.occasion.word())),
        );
    }
    if let Some(mail) = &alarms.mail
        && (message.occasion == Occasion::Failure || (mail.always && message.occasion == Occasion::Success))
    {
        let told = mail::send(mail, message).await;
        problems.extend(told.err().map(|why| format!("cannot send mail: {why}")));
    }
    if message.occasion != Occasion::Start && !alarms.command.is_empty() {
        let told = command::run(&alarms.command, message).await;
        problems.extend(told.err().map(|why| format!("cannot run {}: {why}", alarms.command[0])));
    }
    problems
}
