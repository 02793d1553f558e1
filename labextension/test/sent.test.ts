import { describe, expect, it } from 'vitest';

import { NO_VALUES } from '../src/form';
import { changes, inGib, request, valuesOf } from '../src/sent';
import type { Loop } from '../src/tokens';

const titled = { ...NO_VALUES, title: 'Rain' };

const RESOURCES: Loop['config']['resources'] = {
  cpus: null,
  devices: null,
  memory_bytes: null,
  pids: null,
  shm_size_bytes: null
};
const CONFIG: Loop['config'] = {
  all_loops: true,
  env: { TZ: 'UTC' },
  isolation: null,
  knowledge_rw: null,
  network: null,
  resources: RESOURCES,
  shared_tmp: null
};

describe('inGib', () => {
  it('says bounds in the unit of the field', () => {
    expect(inGib('Must be a whole number of at least 6291456')).toBe(
      'Must be at least 0.006'
    );
    expect(inGib('Must be text')).toBe('Must be text');
  });
});

describe('request', () => {
  it('leaves out what is empty', () => {
    expect(request({ ...titled, title: ' Rain ', repo: ' ' })).toEqual({
      title: 'Rain'
    });
  });

  it('has everything else', () => {
    expect(
      request({
        title: 'Rain',
        repo: ' site ',
        ref: 'main',
        profiles: ['b', 'a'],
        vault: 'work',
        image: 'localhost/mine:1',
        network: 'none',
        isolation: 'strict',
        knowledge: 'changed',
        tmp: 'private',
        cpus: '1.5',
        memory: '0.5',
        pids: '100',
        shm: '1',
        devices: 'nvidia.com/gpu=0, nvidia.com/gpu=1'
      })
    ).toEqual({
      title: 'Rain',
      repo: 'site',
      ref: 'main',
      profiles: ['b', 'a'],
      vault: 'work',
      image: 'localhost/mine:1',
      config: {
        network: 'none',
        isolation: 'strict',
        knowledge_rw: true,
        shared_tmp: false,
        resources: {
          cpus: 1.5,
          memory_bytes: 2 ** 29,
          pids: 100,
          shm_size_bytes: 2 ** 30,
          devices: ['nvidia.com/gpu=0', 'nvidia.com/gpu=1']
        }
      }
    });
  });
});

const plain = { title: 'Rain', vault: 'default', image: null, config: CONFIG };
const own: Pick<Loop, 'title' | 'vault' | 'image' | 'config'> = {
  title: 'Snow',
  vault: 'work',
  image: 'localhost/mine:1',
  config: {
    ...CONFIG,
    isolation: 'strict',
    knowledge_rw: true,
    network: 'none',
    shared_tmp: true,
    resources: {
      cpus: 1.5,
      devices: ['nvidia.com/gpu=0', 'nvidia.com/gpu=1'],
      memory_bytes: 4_000_000_000,
      pids: 100,
      shm_size_bytes: 2 ** 20
    }
  }
};

describe('valuesOf', () => {
  it('leaves empty what the workspace decides', () => {
    expect(valuesOf(plain)).toEqual({ ...titled, vault: 'default' });
  });

  it('shows what the loop decides for itself', () => {
    expect(valuesOf(own)).toEqual({
      ...NO_VALUES,
      title: 'Snow',
      vault: 'work',
      image: 'localhost/mine:1',
      network: 'none',
      isolation: 'strict',
      knowledge: 'changed',
      tmp: 'shared',
      cpus: '1.5',
      memory: '3.725',
      pids: '100',
      shm: '0.0009766',
      devices: 'nvidia.com/gpu=0 nvidia.com/gpu=1'
    });
  });
});

describe('changes', () => {
  const before = valuesOf(own);

  it('are none where nothing was changed', () => {
    const { config } = own;
    expect(changes(before, before, config)).toBeUndefined();
    const same = { ...before, title: ' Snow ', cpus: '1.50' };
    expect(changes(before, same, config)).toBeUndefined();
    const picked = { ...valuesOf(plain), vault: '' };
    expect(changes(valuesOf(plain), picked, CONFIG)).toBeUndefined();
  });

  it('have only what was changed', () => {
    const after = { ...before, title: 'Ice', vault: '', image: ' ' };
    expect(changes(before, after, own.config)).toEqual({
      title: 'Ice',
      vault: 'default',
      image: null
    });
  });

  it('keep the other settings as they are by now', () => {
    const now = {
      ...own.config,
      network: null,
      resources: { ...own.config.resources, pids: 200 }
    };
    const after = { ...before, isolation: '', cpus: ' ', memory: '2' } as const;
    expect(changes(before, after, now)).toEqual({
      config: {
        ...now,
        isolation: null,
        resources: { ...now.resources, cpus: null, memory_bytes: 2 ** 31 }
      }
    });
  });

  it('go back to what the workspace says', () => {
    const after = { ...NO_VALUES, title: 'Snow', vault: 'work' };
    expect(changes(before, after, own.config)).toEqual({
      image: null,
      config: CONFIG
    });
  });
});
