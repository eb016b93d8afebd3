//! What the hosts tell, and the tasks that come one by one, become events, and the manager decides about them.

use titan_agent::descriptors;
use titan_manager::Event;
use titan_proto::time::Timestamp;

use super::host::News;
use super::note::Note;
use super::{Connected, Driver, Fed};

impl Driver<'_> {
    /// What has come of the hosts' news, all at one time.
    pub(super) fn on_all_news(&mut self) {
        let now = self.clock.now();
        let mut unheard = std::mem::take(&mut self.unheard_news);
        for news in unheard.drain(..) {
            // Nobody waits for what comes after the end.
            if !self.is_over() {
                self.on_news(now, news);
            }
        }
        self.unheard_news = unheard;
    }

    fn on_news(&mut self, now: Timestamp, news: News) {
        match news {
            News::Joined { host, worker, capacity, commands, joined, is_local, is_alone, held } => {
                self.connections
                    .insert(worker, Connected { host, commands, outbox: Vec::new(), is_local, slots: capacity.slots });
                // What an attempt sends is a file of the spool until it is whole.
                let slots = self.connections.values().map(|connected| u64::from(connected.slots)).sum();
                descriptors::make_room(slots, u64::from(titan_manager::MAX_DEPTH));
                self.tell(&Note::Joined { host, joined });
                self.handle_at(now, Event::WorkerJoined { host, worker, capacity, is_alone, held });
            }
            News::Messages { worker, messages } => {
                for message in messages {
                    if self.is_over() {
                        return;
                    }
                    self.tell_said(worker, false, &message);
                    self.handle_at(now, Event::Message { worker, message });
                }
            }
            News::Heard { worker } => self.handle_at(now, Event::Heard { worker }),
            News::Lost { host, worker, reason, is_dead } => {
                self.connections.remove(&worker);
                self.staging.forget(worker);
                self.tell(&Note::Lost { host, reason });
                self.handle_at(now, Event::SessionLost { worker, is_dead });
            }
            News::Away { host, reason } => self.tell(&Note::Away { host, reason }),
            News::Back { host } => self.tell(&Note::Back { host }),
            News::Trouble { host, error } => {
                self.tell(&Note::Trouble { host, error });
                self.handle_at(now, Event::StartFailed { host });
            }
            News::Down { host, error } => {
                self.tell(&Note::Down { host, error });
                self.handle_at(now, Event::HostDown { host });
            }
            News::CannotKeep { error } if self.is_one => self.ended.write_error = Some(error),
            News::CannotKeep { error } => drop(self.ended.unwritten.get_or_insert(error)),
        }
    }

    /// Tasks that come one by one grow their job together, as far as they are there.
    pub(super) fn on_fed(&mut self) {
        let mut feds = std::mem::take(&mut self.unheard_fed).into_iter().peekable();
        while let Some(fed) = feds.next() {
            match fed {
                Fed::More { job, mut tasks } => {
                    while let Some(Fed::More { tasks: more, .. }) =
                        feds.next_if(|next| matches!(next, Fed::More { job: next, .. } if *next == job))
                    {
                        tasks += more;
                    }
                    self.handle(Event::Grow { job, tasks });
                }
                Fed::Closed { job } => self.handle(Event::Close { job }),
                Fed::Failed { job, reason } => {
                    self.tell(&Note::NoMoreTasks { reason: reason.clone() });
                    self.ended.feed_error = Some(reason);
                    self.handle(Event::Close { job });
                }
            }
        }
    }

    pub(super) fn handle(&mut self, event: Event) {
        self.handle_at(self.clock.now(), event);
    }

    fn handle_at(&mut self, now: Timestamp, event: Event) {
        self.events.push_back(event);
        self.handle_all(now);
    }

    /// Decides about all that has happened, and does what comes of it.
    pub(super) fn handle_all(&mut self, now: Timestamp) {
        let mut effects = std::mem::take(&mut self.effects);
        while let Some(event) = self.events.pop_front() {
            self.manager.handle(now, event, &mut effects);
            for effect in effects.drain(..) {
                if let Some(effect) = self.gate.pass(self.noted, effect) {
                    self.carry_out(effect);
                }
            }
        }
        self.effects = effects;
    }
}
