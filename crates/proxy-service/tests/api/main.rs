//! The service over HTTP, with a real MongoDB.

mod access;
mod catalog;
mod chat_page;
mod config;
mod doors;
mod flowise_door;
mod turns;
mod upstream;
mod widget;
mod widget_pages;
