import type { IRenderMime, IRenderMimeRegistry } from '@jupyterlab/rendermime';

/** What is asked of whoever knows where something comes from. */
export interface IGuard {
  /**
   * Whether what is shown may act, as far as JupyterLab lets it.
   *
   * @param resolver - Of the document or console; null for what belongs to none.
   */
  isTrusted(resolver: IRenderMime.IResolver | null): boolean;
  /** Something of a document or console was not shown as it would have been. */
  withheld(resolver: IRenderMime.IResolver): void;
}

/** Marks by which HTML can tell that it is shown without its scripts, drawings or styles. */
const ACTIVE =
  /<(?:script|style|svg|iframe|object|embed|form|input|canvas|video|audio)\b|\bon\w+\s*=/i;

/** Of a button in HTML, which JupyterLab takes for one of its own. */
const COMMAND = '[data-commandlinker-command]';

/**
 * Has a registry, and all that are made of it, show what is not trusted as JupyterLab does with outputs that nobody ran.
 *
 * All outputs of cells are shown by one of these, and so are views of them elsewhere, the log, help and tooltips.
 *
 * @param registry - Of the whole page, or of one document.
 * @param guard - Says what is trusted.
 * @returns The registry.
 */
export function guarded(
  registry: IRenderMimeRegistry,
  guard: IGuard
): IRenderMimeRegistry {
  const clone = registry.clone.bind(registry);
  const preferred = registry.preferredMimeType.bind(registry);
  const create = registry.createRenderer.bind(registry);
  const isTrusted = () => guard.isTrusted(registry.resolver);
  const withheld = () => {
    if (registry.resolver !== null) {
      guard.withheld(registry.resolver);
    }
  };

  registry.clone = options => guarded(clone(options), guard);

  registry.preferredMimeType = (bundle, safe) => {
    const wanted = preferred(bundle, safe);
    if (isTrusted()) {
      return wanted;
    }
    const shown = preferred(bundle, 'ensure');
    if (shown !== preferred(bundle, 'any')) {
      withheld();
    }
    return shown;
  };

  registry.createRenderer = mimeType => {
    const renderer = create(mimeType);
    const render = renderer.renderModel.bind(renderer);
    renderer.renderModel = model => {
      if (isTrusted()) {
        return render(model);
      }
      const data = JSON.stringify(model.data[mimeType] ?? '');
      if (mimeType === 'text/html' && ACTIVE.test(data)) {
        withheld();
      }
      return render(untrusted(model));
    };
    renderer.node.addEventListener(
      'click',
      event => {
        const { target } = event;
        const isCommand =
          target instanceof Element && target.closest(COMMAND) !== null;
        if (isCommand && !isTrusted()) {
          event.preventDefault();
          event.stopPropagation();
        }
      },
      true
    );
    return renderer;
  };

  return registry;
}

/** A model that is another one in all but that it is not trusted. */
function untrusted(model: IRenderMime.IMimeModel): IRenderMime.IMimeModel {
  return new Proxy(model, {
    get: (target, key) => {
      if (key === 'trusted') {
        return false;
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function'
        ? (value.bind(target) as unknown)
        : value;
    }
  });
}
