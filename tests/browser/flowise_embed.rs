//! Flowise's own chat window, from its package as it is, on a school's page: it asks us, with the key of whoever is signed
//! in there.

mod asking;
mod refusals;
mod school;
mod site;
mod trimmings;
