import { describe, expect, it } from 'vitest';

import {
  ago,
  carriedWords,
  commonWarnings,
  fullTitle,
  ending,
  insideWords,
  losing,
  marks,
  ofWorkspace,
  promotable,
  repeated,
  repoName,
  sharedWords,
  stateWords,
  terminalTitle,
  usageWords
} from '../src/words';
import type { Loop } from '../src/tokens';
import { loop, trans } from './samples';

describe('ago', () => {
  const now = Date.parse('2026-03-10T12:00:00Z');

  it.each([
    ['2026-03-10T11:59:30Z', 'just now'],
    ['2026-03-10T12:00:30Z', 'just now'],
    ['2026-03-10T11:59:00Z', '1 min ago'],
    ['2026-03-10T11:00:30Z', '59 min ago'],
    ['2026-03-10T11:00:00Z', '1 h ago'],
    ['2026-03-09T12:00:00Z', '1 d ago'],
    ['2026-02-10T12:00:00Z', '28 d ago']
  ])('tells %s as %s', (time, words) => {
    expect(ago(time, trans, now)).toBe(words);
  });
});

describe('stateWords', () => {
  it.each([
    ['running', 'running'],
    ['stopped', 'stopped'],
    ['absent', 'not started'],
    ['error', 'broken'],
    ['preparing', 'starting']
  ] as const)('calls %s %s', (state, word) => {
    expect(stateWords(loop({ state }), trans).word).toBe(word);
  });

  it('calls an archived loop archived, whatever its state', () => {
    const archived = loop({ archived: true, state: 'stopped' });
    expect(stateWords(archived, trans).word).toBe('archived');
  });

  it('calls a loop that was to be started and could not be built by that', () => {
    const words = (values: Partial<Loop>) =>
      stateWords(loop({ build_failed: true, ...values }), trans).word;
    expect(words({ state: 'absent' })).toBe('build failed');
    expect(words({ state: 'stopped' })).toBe('build failed');
    expect(words({ state: 'running' })).toBe('running');
    expect(words({ state: 'stopped', archived: true })).toBe('archived');
  });

  it('counts steps where they are counted', () => {
    const at = (step: number, steps: number) =>
      stateWords(
        loop({ state: 'preparing', progress: { label: 'mise', step, steps } }),
        trans
      ).word;
    expect(at(2, 6)).toBe('mise (2 of 6)');
    expect(at(0, 0)).toBe('mise');
  });
});

describe('what runs in a loop', () => {
  it('is counted in words', () => {
    const inside = { kernels: 1, terminals: 2, commands: 0 };
    expect(insideWords(inside, trans)).toBe('1 kernel, 2 terminals');
    expect(insideWords({ commands: 1 }, trans)).toBe('1 command');
    expect(insideWords({}, trans)).toBe('');
  });

  it('is named before it ends', () => {
    const in_use = { kernels: 2, terminals: 0, commands: 0, unresponsive: [] };
    expect(ending({ in_use }, trans)).toBe('This ends: 2 kernels.');
    expect(ending(loop(), trans)).toBe('');
    expect(losing({ in_use }, ['a.txt', 'b.ipynb'], trans)).toBe(
      'This ends: 2 kernels. Not saved yet: a.txt, b.ipynb.'
    );
    expect(losing(loop(), [], trans)).toBe('');
  });
});

describe('what a loop was given', () => {
  it('is told where it is not the usual', () => {
    expect(carriedWords({ vault: 'default', profiles: [] }, trans)).toBe('');
    expect(carriedWords({ vault: 'work', profiles: ['a', 'b'] }, trans)).toBe(
      'vault work · profiles a, b'
    );
    expect(carriedWords({ vault: 'default', profiles: ['a'] }, trans)).toBe(
      'profile a'
    );
  });
});

describe('repoName', () => {
  it.each([
    ['website', 'website'],
    ['git@example.org:team/website.git', 'website'],
    ['https://example.org/team/website', 'website'],
    ['https://example.org/team/website/', 'website'],
    ['/srv/git/reports.git', 'reports'],
    ['host:reports.git', 'reports'],
    ['/', '/']
  ])('calls %s %s', (repo, name) => {
    expect(repoName(repo)).toBe(name);
  });
});

describe('usageWords', () => {
  const usage = (cpu_s: number) =>
    ({ cpu_s, memory_bytes: 300 * 2 ** 20 }) as Parameters<
      typeof usageWords
    >[0];

  it('tells memory alone at first', () => {
    expect(usageWords(usage(5), undefined, 0, trans)).toBe('300 MiB');
  });

  it('tells the load between two looks', () => {
    expect(usageWords(usage(6), usage(4.5), 3, trans)).toBe('50 % · 300 MiB');
  });

  it('tells no load below nothing, as after a restart', () => {
    expect(usageWords(usage(1), usage(9), 3, trans)).toBe('0 % · 300 MiB');
  });
});

describe('terminalTitle', () => {
  const loops = [{ id: '3f2a9c1e-6f3e', title: 'Rain' }];
  const known = { loops, repeated: repeated(loops) };

  it.each([
    ['Terminal 3f2a9c1e_2', '3f2a9c1e_2', 'Rain: Terminal 2'],
    ['vim notes.md', '3f2a9c1e_1', 'Rain: vim notes.md'],
    ['Terminal 1', '1', 'Terminal 1'],
    ['Terminal 00000000_1', '00000000_1', 'Terminal 00000000_1']
  ])('makes of %s', (label, name, title) => {
    expect(terminalTitle(label, name, known, trans)).toBe(title);
  });
});

describe('fullTitle', () => {
  const rain = { id: '3f2a9c1e-6f3e', title: 'Rain' };
  const other = { id: '00c0ffee-6f3e', title: 'Rain' };
  const snow = { id: '5e5e5e5e-6f3e', title: 'Snow' };

  it.each([
    [[rain, snow], 'Rain'],
    [[rain, other, snow], 'Rain (3f2a9c1e)']
  ])('tells loops of one title apart: %o', (loops, title) => {
    expect(fullTitle(rain, { repeated: repeated(loops) })).toBe(title);
  });
});

describe('commonWarnings', () => {
  const having = (...warnings: string[]) => ({ warnings });

  it('are those of more than half of the loops, each counted once', () => {
    const loops = [having('a', 'a'), having('b', 'a'), having('a'), having()];
    expect([...commonWarnings(loops)]).toEqual([['a', 3]]);
    expect(commonWarnings([...loops, having(), having()]).size).toBe(0);
  });

  it('stay in the rows of a few loops', () => {
    expect(commonWarnings([having('a'), having('a')]).size).toBe(0);
  });
});

describe('sharedWords', () => {
  it.each([
    [{ mode: 'off', port: null, protocol: 'tcp' }, ''],
    [{ mode: 'static', port: null, protocol: 'tcp' }, 'shares files'],
    [{ mode: 'port', port: 8000, protocol: 'tcp' }, 'shares port 8000'],
    [{ mode: 'direct', port: 53, protocol: 'udp' }, 'shares port 53/udp']
  ] as const)('says of %o', (share, words) => {
    expect(sharedWords(share, trans)).toBe(words);
  });
});

describe('promotable', () => {
  const contexts = (['knowledge', 'notes'] as const).map(kind => ({
    kind,
    commit: null
  }));

  it('leaves out what is only read', () => {
    const config = { knowledge_rw: null } as Loop['config'];
    expect(promotable({ config, contexts })).toEqual(['notes']);
    const changed = { ...config, knowledge_rw: true };
    expect(promotable({ config: changed, contexts })).toEqual([
      'notes',
      'knowledge'
    ]);
  });
});

describe('ofWorkspace', () => {
  it('says what the setting of the workspace is, where that is known', () => {
    expect(ofWorkspace('None', trans)).toBe('None (workspace’s setting)');
    expect(ofWorkspace(undefined, trans)).toBe('As the workspace says');
  });
});

describe('marks', () => {
  it('tells documents apart that are called the same', () => {
    expect(
      marks([
        ['a', 'Rain'],
        ['a', undefined],
        ['b', 'Rain']
      ])
    ).toEqual(['Rain', undefined, undefined]);
    expect(
      marks([
        ['a', 'Rain'],
        ['a', 'Sun']
      ])
    ).toEqual(['Rain', 'Sun']);
    expect(
      marks([
        ['a', 'Rain'],
        ['a', 'Rain']
      ])
    ).toEqual([undefined, undefined]);
  });
});
