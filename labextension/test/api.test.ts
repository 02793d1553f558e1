import { describe, expect, it } from 'vitest';

import { LoopError, messageOf } from '../src/api';

const refused = (message: string, field?: string) =>
  new LoopError(message, 400, 'bad_input', field);

describe('what is wrong with a field', () => {
  it('is a sentence that names it where nothing else does', () => {
    const words = (message: string, field?: string) =>
      messageOf(refused(message, field));
    expect(words('title: must not be empty', 'title')).toBe(
      'The title must not be empty.'
    );
    expect(words('public_port: must be free.', 'public_port')).toBe(
      'The public port must be free.'
    );
    expect(words('repo: there is no repo', 'repo')).toBe('There is no repo.');
    expect(words('It failed. Try again', undefined)).toBe(
      'It failed. Try again'
    );
    expect(messageOf(new Error('title: x'))).toBe('title: x');
  });

  it('leaves the name out beside it', () => {
    const { besideField } = refused('title: must not be empty', 'title');
    expect(besideField).toBe('Must not be empty');
    expect(refused('title must be', 'title').besideField).toBe('Title must be');
  });
});
