/**
 * `layercache/testing`: the suites that every storage driver and every cache passes, for those who write
 * one of their own. They register tests of vitest, which the author's project brings, and fast-check.
 */
export { openStorage } from '../../src/storage/open.js';
export { layerInfoCacheSuite } from './layer-info-cache.js';
export { type StorageUnderTest, storageDriverSuite } from './storage-driver.js';
