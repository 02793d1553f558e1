import type { IRenderMime, IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { describe, expect, it } from 'vitest';

import { guarded } from '../src/guard';

const SAFE = ['text/html', 'text/plain'];
const BUNDLE = { 'image/svg+xml': '<svg/>', 'text/plain': 'a drawing' };

/** A registry as JupyterLab's, of one that draws what is not safe first. */
function registry(resolver: object | null, rendered: unknown[]) {
  const self = {
    resolver,
    clone: (options: { resolver: object }) =>
      registry(options.resolver, rendered),
    preferredMimeType: (bundle: object, safe = 'ensure') =>
      ['image/svg+xml', ...SAFE].find(
        type => type in bundle && (safe === 'any' || SAFE.includes(type))
      ),
    createRenderer: () => ({
      node: { addEventListener: () => undefined },
      renderModel: (model: IRenderMime.IMimeModel) => {
        rendered.push([model.trusted, { ...model.data }]);
        return Promise.resolve();
      }
    })
  };
  return self as unknown as IRenderMimeRegistry;
}

describe('a registry', () => {
  const document = { path: 'a' } as unknown as IRenderMime.IResolver;

  function setUp(trusted: boolean) {
    const rendered: unknown[] = [];
    const withheld: unknown[] = [];
    const whole = guarded(registry(null, rendered), {
      isTrusted: resolver => trusted || resolver === null,
      withheld: resolver => withheld.push(resolver)
    });
    const own = whole
      .clone({ resolver: document })
      .clone({ resolver: document });
    const render = async (mimeType: string, data: string) => {
      const model = { trusted: true, data: { [mimeType]: data }, metadata: {} };
      await own
        .createRenderer(mimeType)
        .renderModel(model as unknown as IRenderMime.IMimeModel);
    };
    return { own, rendered, render, whole, withheld };
  }

  it('shows what is trusted as it is', async () => {
    const { own, rendered, render, withheld } = setUp(true);
    expect(own.preferredMimeType(BUNDLE, 'any')).toBe('image/svg+xml');
    await render('text/html', '<script></script>');
    expect(rendered).toEqual([[true, { 'text/html': '<script></script>' }]]);
    expect(withheld).toEqual([]);
  });

  it('shows of the rest what is safe, and says when that is not all', async () => {
    const { own, rendered, render, whole, withheld } = setUp(false);
    await render('text/plain', 'a');
    await render('text/html', '<b>on</b>');
    expect(rendered).toEqual([
      [false, { 'text/plain': 'a' }],
      [false, { 'text/html': '<b>on</b>' }]
    ]);
    expect(own.preferredMimeType({ 'text/plain': 'a' }, 'any')).toBe(
      'text/plain'
    );
    expect(withheld).toEqual([]);
    expect(own.preferredMimeType(BUNDLE, 'any')).toBe('text/plain');
    expect(withheld).toEqual([document]);
    await render('text/html', '<img src=x onerror="act()">');
    expect(withheld).toEqual([document, document]);
    // What is of no document is the guard's to judge.
    expect(whole.preferredMimeType(BUNDLE, 'any')).toBe('image/svg+xml');
  });
});
