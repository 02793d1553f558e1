import { describe, expect, it } from 'vitest';

import type { ILists, ILoopEvent } from '../src/state';
import { drop, find, put, reduce } from '../src/state';
import { loop } from './samples';

const older = loop({ id: 'old', last_activity: '2026-03-01T09:00:00Z' });
const newer = loop({ id: 'new', last_activity: '2026-03-01T11:00:00Z' });
const lists: ILists = { loops: [newer, older], archived: null };
const ids = (of: ILists) => of.loops.map(each => each.id);

describe('put', () => {
  it('sorts by activity', () => {
    expect(ids(put(lists, loop()))).toEqual(['new', 'a', 'old']);
    const oldest = loop({ last_activity: '2026-02-01T00:00:00Z' });
    expect(ids(put(lists, oldest))).toEqual(['new', 'old', 'a']);
  });

  it('replaces a loop that is known', () => {
    const renamed = put(lists, { ...older, title: 'Snow' });
    expect(ids(renamed)).toEqual(['new', 'old']);
    expect(find(renamed, 'old')?.title).toBe('Snow');
  });

  it('moves a loop between the lists', () => {
    const both = { ...lists, archived: [] };
    const archived = put(both, { ...older, archived: true });
    expect(ids(archived)).toEqual(['new']);
    expect(archived.archived?.map(each => each.id)).toEqual(['old']);
    expect(put(archived, older)).toEqual(both);
  });

  it('leaves out archived loops while nobody wants to see them', () => {
    expect(put(lists, { ...older, archived: true })).toEqual({
      loops: [newer],
      archived: null
    });
  });
});

describe('drop', () => {
  it('takes a loop out of both lists, and nothing else', () => {
    const both = { loops: [newer], archived: [older] };
    expect(drop(both, 'old')).toEqual({ loops: [newer], archived: [] });
    expect(drop(both, 'new')).toEqual({ loops: [], archived: [older] });
    expect(drop(both, 'other')).toEqual(both);
  });
});

describe('reduce', () => {
  const outcome = (event: Omit<ILoopEvent, 'loop_id'>, id = 'old') =>
    reduce(lists, { ...event, loop_id: id });

  it('forgets a deleted loop without asking', () => {
    expect(outcome({ action: 'deleted' })).toEqual({
      lists: { loops: [newer], archived: null },
      ask: false
    });
  });

  it('asks for a created loop only if it is new here', () => {
    expect(outcome({ action: 'created' })).toEqual({ lists, ask: false });
    expect(outcome({ action: 'created' }, 'other').ask).toBe(true);
  });

  it('shows steps as they come', () => {
    const progress = { label: 'mise', step: 2, steps: 6 };
    const after = outcome({ action: 'progress', progress });
    expect(after.ask).toBe(false);
    expect(find(after.lists, 'old')).toEqual({
      ...older,
      state: 'preparing',
      progress
    });
    expect(outcome({ action: 'progress', progress }, 'other').ask).toBe(true);
  });

  it('shows a new state at once, and asks for what came with it', () => {
    const after = outcome({ action: 'state', state: 'running' });
    expect(after.ask).toBe(true);
    expect(find(after.lists, 'old')?.state).toBe('running');
    expect(ids(after.lists)).toEqual(ids(lists));
  });

  it('asks nothing about a state that is known', () => {
    expect(outcome({ action: 'state', state: 'absent' })).toEqual({
      lists,
      ask: false
    });
  });

  it.each(['updated', 'warning', 'failed', 'state'] as const)(
    'asks for what %s does not tell',
    action => {
      expect(outcome({ action })).toEqual({ lists, ask: true });
    }
  );
});
