//! Small pictures of images. Decoding is the most that a client can make us do with one request, so it happens on few
//! threads, within limits of pixels and memory, and its outcome is remembered.

use std::{io::Cursor, sync::Arc, time::Duration};

use bson::oid::ObjectId;
use bytes::Bytes;
use image::{
    DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits,
    codecs::jpeg::JpegEncoder,
    error::{LimitError, LimitErrorKind},
    imageops::FilterType,
};
use moka::future::Cache;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::error::{Error, Result};

/// Pictures made at once.
const AT_ONCE: usize = 2;

/// Requests that may wait for it.
const WAITING_MAX: usize = 64;

/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pixels of an image that is decoded: the largest photos of telephones. Larger ones are shown as they are.
const PIXELS_MAX: u64 = 50_000_000;

/// Memory that decoding one may take.
const DECODING_BYTES_MAX: u64 = 256 << 20;

/// Bytes of pictures that are remembered.
const REMEMBERED_BYTES: u64 = 32 << 20;

/// How long they are.
const REMEMBERED_FOR: Duration = Duration::from_hours(1);

const JPEG_QUALITY: u8 = 85;

/// A picture to show.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) bytes: Bytes,
    pub(crate) mime: String,
    /// Whether it is the image itself, because it could not be made smaller.
    pub(crate) is_original: bool,
}

/// Makes small pictures.
#[derive(Clone)]
pub(super) struct Thumbnails {
    made: Cache<(ObjectId, u32), Picture>,
    working: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Thumbnails {
    pub(super) fn new() -> Self {
        let weigh = |_: &(ObjectId, u32), picture: &Picture| {
            u32::try_from(picture.bytes.len())
                .unwrap_or(u32::MAX)
                .saturating_add(100)
        };
        Self {
            made: Cache::builder()
                .max_capacity(REMEMBERED_BYTES)
                .weigher(weigh)
                .time_to_live(REMEMBERED_FOR)
                .support_invalidation_closures()
                .build(),
            working: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }

    pub(super) async fn find(&self, blob: ObjectId, side: u32) -> Option<Picture> {
        self.made.get(&(blob, side)).await
    }

    /// Waits for its turn. Only then the image is read: those that wait cost nothing.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        let _waiting = self.waiting.try_acquire().or(Err(Error::Busy))?;
        let permit = timeout(PATIENCE, self.working.clone().acquire_owned()).await;
        permit.or(Err(Error::Busy))?.or(Err(Error::Busy))
    }

    /// Makes a picture that fits a square of `side` pixels.
    pub(super) async fn make(
        &self,
        permit: OwnedSemaphorePermit,
        blob: ObjectId,
        side: u32,
        bytes: Vec<u8>,
        mime: &str,
    ) -> Result<Picture> {
        let mime = mime.to_owned();
        let work = move || {
            // Held by the work itself: whoever waits for it may leave.
            let _permit = permit;
            shrink(&bytes, side).unwrap_or_else(|error| {
                tracing::debug!(%error, "an image is shown as it is");
                Picture {
                    bytes: bytes.into(),
                    mime,
                    is_original: true,
                }
            })
        };
        let picture = tokio::task::spawn_blocking(work).await.or(Err(Error::Busy))?;
        if !picture.is_original {
            self.made.insert((blob, side), picture.clone()).await;
        }
        Ok(picture)
    }

    /// Forgets the pictures of bytes that are gone.
    pub(super) fn forget(&self, blob: ObjectId) {
        // It can only fail where closures are not supported, and they are.
        let _ = self.made.invalidate_entries_if(move |(of, _), _| *of == blob);
    }
}

fn shrink(bytes: &[u8], side: u32) -> std::result::Result<Picture, ImageError> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODING_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS_MAX {
        let kind = LimitErrorKind::DimensionError;
        return Err(ImageError::Limits(LimitError::from_kind(kind)));
    }
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    if image.width() > side || image.height() > side {
        image = image.resize(side, side, FilterType::Lanczos3);
    }
    image.apply_orientation(orientation);
    let mut out = Vec::new();
    let mime = if image.color().has_alpha() {
        let image = DynamicImage::from(image.into_rgba8());
        image.write_to(&mut Cursor::new(&mut out), ImageFormat::Png)?;
        "image/png"
    } else {
        JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY).encode_image(&image.into_rgb8())?;
        "image/jpeg"
    };
    Ok(Picture {
        bytes: out.into(),
        mime: mime.to_owned(),
        is_original: false,
    })
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    fn shown(bytes: &[u8], side: u32) -> (String, u32, u32) {
        let picture = shrink(bytes, side).unwrap();
        let image = image::load_from_memory(&picture.bytes).unwrap();
        (picture.mime, image.width(), image.height())
    }

    #[test]
    fn a_picture_fits_and_is_never_enlarged() {
        let image = DynamicImage::from(RgbImage::from_pixel(300, 100, Rgb([200, 10, 10])));
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let bytes = encoded(&image, format);
            assert_eq!(shown(&bytes, 90), ("image/jpeg".to_owned(), 90, 30), "{format:?}");
            assert_eq!(shown(&bytes, 900), ("image/jpeg".to_owned(), 300, 100));
        }
        let gray = encoded(&DynamicImage::from(GrayImage::new(8, 8)), ImageFormat::Png);
        assert_eq!(shown(&gray, 4).0, "image/jpeg");
    }

    #[test]
    fn what_is_transparent_stays_so() {
        let image = DynamicImage::from(RgbaImage::from_pixel(40, 80, Rgba([1, 2, 3, 0])));
        for format in [ImageFormat::Png, ImageFormat::Gif] {
            assert_eq!(
                shown(&encoded(&image, format), 20),
                ("image/png".to_owned(), 10, 20)
            );
        }
    }

    /// The head of a picture of 60,000 x 60,000 pixels: ten gigabytes, were it decoded.
    #[test]
    fn a_bomb_is_not_decoded() {
        let mut bomb = encoded(&DynamicImage::from(GrayImage::new(1, 1)), ImageFormat::Png);
        bomb[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
        bomb[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
        // The checksum of the header, so that it is the size that is refused and not the damage.
        let crc = crc32(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(shrink(&bomb, 100), Err(ImageError::Limits(_))));
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let step = |crc: u32| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            }
        };
        let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
        !bytes.iter().fold(u32::MAX, byte)
    }
}
